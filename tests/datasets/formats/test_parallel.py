import gzip
from pathlib import Path

import pytest

from stoker.datasets.formats.format_inference import infer_format
from stoker.datasets.inspection import inspect
from stoker.datasets.loading import read_source
from stoker.datasets.records import Records
from stoker.errors import JobError
from stoker.job.dataset import Dataset


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content, encoding="utf-8")
    return folder


def read(path: Path, **settings: str) -> Records:
    records, found = read_source(Dataset.model_validate({"source": str(path), **settings}))
    assert found == "parallel"
    return records


def problem(path: Path, **settings: str) -> str:
    with pytest.raises(JobError) as caught:
        read(path, **settings)
    (found,) = caught.value.problems
    assert found.path == "dataset.source"
    return found.message.removeprefix(f"cannot read '{path}': ")


def test_lines_that_belong_together_are_rows_and_names_tell_the_part(tmp_path: Path):
    write(tmp_path, train_en="one\ntwo\n", train_de="eins\nzwei\n", dev_en="a\n", dev_de="b", test_en="", test_de="")
    (tmp_path / "README.md").write_text("about")
    (tmp_path / ".hidden.en").write_text("no")
    records = read(tmp_path)
    assert records.frame.to_dict("list") == {"de": ["b", "eins", "zwei"], "en": ["a", "one", "two"]}
    assert records.parts is not None
    assert records.parts.tolist() == ["val", "train", "train"]


def test_a_pair_without_parts_is_split_later(tmp_path: Path):
    (tmp_path / "corpus.pt-BR.gz").write_bytes(gzip.compress(b"um\n\n"))
    write(tmp_path, corpus_en="one\n \n")
    records = read(tmp_path)
    assert records.frame.to_dict("list") == {"en": ["one", " "], "pt-BR": ["um", ""]}
    assert records.parts is None


def test_files_of_different_length_are_named_with_their_numbers_of_lines(tmp_path: Path):
    write(tmp_path, train_en="one\ntwo\n", train_de="eins\n", val_en="a", val_de="b")
    expected = "files whose lines belong together differ in their number of lines: 'train.de' has 1, 'train.en' has 2"
    expected += "; write each line beside its counterpart, and an empty one where there is none"
    assert problem(tmp_path) == expected


def test_a_file_without_its_counterpart_is_named(tmp_path: Path):
    write(tmp_path, train_en="one", train_de="eins", val_en="a")
    assert infer_format(tmp_path) is None
    assert problem(tmp_path, format="parallel") == "'val.en' has no counterpart 'val.de'"


def test_invalid_utf8_is_reported_with_file_and_line(tmp_path: Path):
    write(tmp_path, train_en="one\ntwo")
    (tmp_path / "train.de").write_bytes("eins\nGrün\n".encode("latin-1"))
    cure = "name its encoding in dataset.encoding, such as latin-1"
    assert problem(tmp_path) == f"'train.de': it is not UTF-8 text (line 2, byte 0xfc); {cure}"
    assert read(tmp_path, encoding="latin-1").frame["de"].tolist() == ["eins", "Grün"]


def test_the_target_is_one_of_the_languages(tmp_path: Path):
    write(tmp_path, train_en="one", train_de="eins")
    (missing,) = inspect(None, Dataset(source=str(tmp_path)), "translation")
    assert missing.path == "dataset.columns.label"
    assert missing.message == f"required: the column of {tmp_path.name} to predict (columns: de, en)"
    dataset = Dataset.model_validate({"source": str(tmp_path), "columns": {"label": "fr"}})
    assert inspect(None, dataset, "translation")[0].message.startswith("no column 'fr'")


def test_folders_of_other_files_are_not_parallel(tmp_path: Path):
    write(tmp_path, one_txt="a", two_txt="b")
    assert infer_format(tmp_path) == "text"
    write(tmp_path, a_py="", a_md="")
    assert infer_format(tmp_path) is None
    (only,) = inspect(None, Dataset.model_validate({"source": str(tmp_path), "format": "parallel"}), "translation")
    assert "has no texts in two languages; name their files such as train.en and train.de" in only.message


def test_public_sentences_have_their_parts(public_data):
    records = read(public_data("multi30k"))
    assert records.parts is not None
    assert {part: int((records.parts == part).sum()) for part in ("train", "val", "test")} == {
        "train": 29_000, "val": 1_014, "test": 1_000,
    }  # fmt: skip
    assert all(records.frame["en"].str.len() > 0)
    assert all(records.frame["de"].str.len() > 0)
