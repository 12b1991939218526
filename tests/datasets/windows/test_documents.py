"""Documents to learn to write from: every token is learnt once, and no window reaches beyond its part."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from stoker.datasets.columns import Ragged
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.loading import load_dataset
from stoker.datasets.records import table
from stoker.datasets.tokens.tokenizer import END, PADDING
from stoker.datasets.windows.documents import MIN_DOCUMENTS, split_within, windows
from stoker.errors import JobError
from stoker.job.dataset import Dataset, Split
from stoker.job.task import TASKS

TASK = TASKS["text-generation"]
SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}


def load(source: Path, **settings: object) -> LoadedDataset:
    return load_dataset(Dataset.model_validate({"source": str(source), **settings}), TASK)


def learnt(data: LoadedDataset, part: str) -> str:
    """Return all that is learnt of a part, without the padding."""
    samples = data.parts[part]
    assert samples.target is not None
    numbers = samples.target.take(torch.arange(len(samples))).flatten().tolist()
    return "".join("|" if n == END else data.fields.text.tokenizer.decode([n]) for n in numbers if n != PADDING)


def read(data: LoadedDataset, part: str) -> torch.Tensor:
    samples = data.parts[part]
    return samples.inputs["text"].take(torch.arange(len(samples)))


@pytest.mark.parametrize("lengths", [[5], [3, 4], [8, 1, 1], [1]])
@pytest.mark.parametrize("length", [1, 2, 4, 9])
def test_windows_predict_every_token_but_the_first_once(lengths: list[int], length: int):
    texts = Ragged.of([list(range(10 * n + 4, 10 * n + 4 + size)) for n, size in enumerate(lengths)])
    taken, following = windows(texts, length)
    index = torch.arange(len(taken))
    inputs, targets = taken.take(index), following.take(index)
    assert inputs.shape == targets.shape == (len(index), length)
    assert [n for n in targets.flatten().tolist() if n] == texts.values[1:].tolist()
    joined = torch.cat([texts.values, torch.zeros(length, dtype=torch.int64)])
    assert inputs.flatten().tolist() == joined[: inputs.numel()].tolist()


def test_a_file_is_one_document_that_is_split_in_itself(tmp_path: Path):
    lines = [f"line {number:02}" for number in range(40)]
    (tmp_path / "play.txt").write_text("\n".join(lines) + "\n")
    data = load(tmp_path / "play.txt", text={"length": 10}, split=SHARES)
    assert learnt(data, "train") == "ine 00\n" + "".join(f"{line}\n" for line in lines[1:21]) + "|"
    assert learnt(data, "val").startswith("ine 21\n")
    assert learnt(data, "test").endswith("line 39|")
    assert not data.fields.own.borders
    assert data.spec.text.tokens == "characters"
    assert data.counts == {part: {"": len(data.parts[part])} for part in ("train", "val", "test")}
    assert data.notes == ("the text is split in itself: its beginning is for training, its end for the test",)
    assert load_dataset(data.spec, TASK).fields == data.fields


def test_a_cut_falls_on_the_end_of_a_line():
    text = "one two\nthree four\nfive six\nseven eight\n"
    parts = split_within(table(pd.DataFrame({"t": [text]})), "t", Split(train=0.5, val=0.25, test=0.25))
    assert list(parts.columns["t"]) == ["one two\nthree four\nfive six\n", "seven eight\n"]
    assert parts.parts is not None
    assert parts.parts.tolist() == ["train", "val"]


def test_many_documents_are_split_as_a_whole(tmp_path: Path):
    for number in range(MIN_DOCUMENTS * 2):
        (tmp_path / f"{number:02}.py").write_text(f"x = {number}\n")
    (tmp_path / ".hidden.py").write_text("secret")
    data = load(tmp_path, format="text", text={"length": 16}, split=SHARES)
    assert data.fields.own.borders
    found = "x = " + learnt(data, "train").removeprefix(" = ")
    assert found.count("|") == MIN_DOCUMENTS
    together = "".join(learnt(data, part) for part in data.parts)
    assert together.count("|") == 2 * MIN_DOCUMENTS
    assert "secret" not in together
    assert (read(data, "train") == END).any()


def test_a_table_has_a_document_a_row(tmp_path: Path):
    frame = pd.DataFrame({"text": [f"story {n} is told" for n in range(20)], "part": ["train"] * 12 + ["val"] * 8})
    frame.to_csv(tmp_path / "stories.csv", index=False)
    data = load(tmp_path / "stories.csv", split={"column": "part"})
    assert learnt(data, "val") == "tory 12 is told|" + "|".join(f"story {n} is told" for n in range(13, 20)) + "|"


def test_the_files_of_a_folder_may_be_parts(tmp_path: Path):
    for name, text in {"train.txt": "abcabc", "val.txt": "cba", "test.txt": "bca"}.items():
        (tmp_path / name).write_text(text)
    data = load(tmp_path)
    assert {part: learnt(data, part) for part in data.parts} == {"train": "bcabc|", "val": "ba|", "test": "ca|"}


def test_everything_may_be_learnt(tmp_path: Path):
    (tmp_path / "a.txt").write_text("abc\nabc\n")
    data = load(tmp_path / "a.txt", split="none")
    assert list(data.parts) == ["train"]
    assert learnt(data, "train") == "bc\nabc|"


@pytest.mark.parametrize(
    ("settings", "path", "message"),
    [
        ({"columns": {"weight": "w"}}, "dataset.columns.weight", "which all weigh the same"),
        ({"text": {"tokens": "words"}, "image": {"size": 8}}, "dataset.image.size", "which has no images"),
    ],
)
def test_settings_that_do_not_fit_are_reported(tmp_path: Path, settings: dict, path: str, message: str):
    pd.DataFrame({"text": ["a story"] * 20, "w": [1] * 20}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(JobError) as caught:
        load(tmp_path / "a.csv", **settings)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in problem.message


def test_an_empty_text_teaches_nothing(tmp_path: Path):
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(JobError, match="holds no text"):
        load(tmp_path / "a.txt", split="none")
