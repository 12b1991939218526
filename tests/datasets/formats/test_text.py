from pathlib import Path

import pytest

from stoker.datasets.loading import read_source
from stoker.datasets.records import Records
from stoker.errors import JobError
from stoker.job.dataset import Dataset


def read(path: Path) -> Records:
    records, found = read_source(Dataset(source=str(path)))
    assert found == "text"
    return records


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("one\ntwo, 2\n", ["one", "two, 2"]),
        ("one\r\ntwo", ["one", "two"]),
        ("\ufeffone\n\n two \n", ["one", "", " two "]),
        ("a\u2028b\x0bc\x85d\n", ["a\u2028b\x0bc\x85d"]),
        ("", []),
    ],
)
def test_each_line_is_a_text(tmp_path: Path, content: str, texts: list[str]):
    path = tmp_path / "a.txt"
    path.write_bytes(content.encode())
    records = read(path)
    assert records.frame["text"].tolist() == texts
    assert (records.label, records.parts) == ("", None)


def test_invalid_utf8_is_reported(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_bytes("Grün\n".encode("latin-1"))
    with pytest.raises(JobError) as caught:
        read(path)
    (problem,) = caught.value.problems
    cure = "name its encoding in dataset.encoding, such as latin-1"
    assert problem.path == "dataset.source"
    assert problem.message == f"cannot read '{path}': it is not UTF-8 text (line 1, byte 0xfc); {cure}"
