"""How long texts are before anything is cut off, as a run notes and draws it."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.loading import load_dataset
from stoker.datasets.report.text_lengths import TextLengths, draw_lengths, text_lengths
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS, TaskName

TEXTED = [name for name, row in TASKS.items() if {"text", "words"} & {*row.inputs} and "number" not in row.inputs]
PARTS = ["train", "train", "val", "test"]


def load(task: TaskName, folder: Path, columns: dict[str, list[Any]], length: int, **named: Any) -> LoadedDataset:
    pd.DataFrame({**columns, "part": PARTS}).to_json(folder / "a.jsonl", orient="records", lines=True)
    dataset = {"source": str(folder / "a.jsonl"), "columns": named, "split": {"column": "part"}}
    return load_dataset(Dataset.model_validate({**dataset, "text": {"length": length}}), TASKS[task])


def found(data: LoadedDataset) -> dict[str, dict[str, list[int]]]:
    return {
        each.column: {part: lengths.tolist() for part, lengths in each.parts.items()}
        for each in text_lengths(data.fields, data.parts)
    }


def test_a_text_counts_as_a_whole_where_it_is_cut(tmp_path: Path):
    texts = ["a b a b a", "a", "", "b b b b b b b"]
    data = load("text-classification", tmp_path, {"text": texts, "y": ["x", "z", "x", "z"]}, 3, label="y")
    assert found(data) == {"text": {"train": [5, 1], "val": [1], "test": [7]}}
    (lengths,) = text_lengths(data.fields, data.parts)
    assert (lengths.unit, lengths.limit, lengths.longer(), lengths.longer("train")) == ("words", 3, 2, 1)


def test_both_texts_of_a_translation_are_counted_without_the_end(tmp_path: Path):
    columns = {"en": ["a b", "a", "b a b a b a", "a b a"], "de": ["x y z x y z", "x", "y", "z z z z z"]}
    dataset = {"label": "de", "features": ["en"]}
    pd.DataFrame({**columns, "part": PARTS}).to_csv(tmp_path / "a.csv", index=False)
    settings = {"source": str(tmp_path / "a.csv"), "columns": dataset, "split": {"column": "part"}}
    text = {"length": 4, "tokens": "words"}
    data = load_dataset(Dataset.model_validate({**settings, "text": text}), TASKS["translation"])
    assert found(data) == {
        "en": {"train": [2, 1], "val": [6], "test": [3]},
        "de": {"train": [6, 1], "val": [1], "test": [5]},
    }


def test_a_dialogue_counts_with_all_its_turns(tmp_path: Path):
    talks = [
        [{"role": role, "content": said} for role, said in zip(["user", "assistant"] * 2, talk, strict=False)]
        for talk in (["ab", "c", "de", "f"], ["ab", "c"], ["ab", "c"], ["ab", "c"])
    ]
    pd.DataFrame({"messages": talks, "part": PARTS}).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    dataset = {"source": str(tmp_path / "a.jsonl"), "split": {"column": "part"}}
    text = {"tokens": "characters", "length": 9}
    data = load_dataset(Dataset.model_validate({**dataset, "text": text}), TASKS["instruction-tuning"])
    (lengths,) = text_lengths(data.fields, data.parts)
    short = lengths.parts["train"][1]
    assert found(data)["messages"] == {"train": [2 * short + 1, short], "val": [short], "test": [short]}
    assert data.parts["train"].inputs["messages"].take(torch.tensor([0, 1])).shape == (2, short)
    assert (lengths.limit, lengths.longer("train")) == (9, 1)


def test_sentences_are_counted_in_words(tmp_path: Path):
    words = [["Ann", "saw", "Bob"], ["Ann"], ["Bob", "left"], ["Ann", "and", "Bob", "left"]]
    tags = [["X" if word == "Ann" else "O" for word in each] for each in words]
    columns = {"words": words, "tags": tags}
    data = load("token-classification", tmp_path, columns, 2, label="tags", features=["words"])
    assert found(data) == {"words": {"train": [3, 1], "val": [2], "test": [4]}}


def test_sentences_for_a_pretrained_model_are_counted_in_its_tokens(tmp_path: Path, tiny_model):
    words = [["the", "cat"], ["the"], ["the", "plot"], ["the", "cat", "was", "good", "the", "plot"]]
    rows = [
        {"words": each, "tags": ["X" if word == "cat" else "O" for word in each], "part": part}
        for each, part in zip(words, PARTS, strict=True)
    ]
    pd.DataFrame(rows).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    columns = {"label": "tags", "features": ["words"]}
    dataset = {"source": str(tmp_path / "a.jsonl"), "columns": columns, "split": {"column": "part"}}
    text = {"length": 5, "tokenizer": str(tiny_model("bert"))}
    data = load_dataset(Dataset.model_validate({**dataset, "text": text}), TASKS["token-classification"])
    assert found(data) == {"words": {"train": [2, 1], "val": [2], "test": [6]}}
    (lengths,) = text_lengths(data.fields, data.parts)
    assert (lengths.limit, lengths.longer()) == (3, 1)


def test_a_question_of_several_windows_counts_once(tmp_path: Path):
    columns = {
        "question": ["who is it", "who", "who is it", "who is"],
        "context": ["it is ann " * 9, "it is ann", "it is ann", "it is ann"],
        "answer": ["ann"] * 4,
    }
    pd.DataFrame({**columns, "part": PARTS}).to_csv(tmp_path / "a.csv", index=False)
    named = {"label": "answer", "features": ["question", "context"]}
    settings = {"source": str(tmp_path / "a.csv"), "columns": named, "split": {"column": "part"}}
    text = {"length": 9, "tokens": "words"}
    data = load_dataset(Dataset.model_validate({**settings, "text": text}), TASKS["question-answering"])
    assert len(data.parts["train"]) > 2
    assert found(data) == {
        "question": {"train": [3, 1], "val": [3], "test": [2]},
        "context": {"train": [27, 3], "val": [3], "test": [3]},
    }


def test_documents_to_continue_are_counted_but_not_a_single_one(tmp_path: Path):
    texts = [f"{'ab' * number}." for number in range(20)]
    pd.DataFrame({"text": texts, "part": PARTS * 5}).to_csv(tmp_path / "a.csv", index=False)
    settings = {"source": str(tmp_path / "a.csv"), "split": {"column": "part"}, "text": {"length": 8}}
    settings["columns"] = {"features": ["text"]}
    data = load_dataset(Dataset.model_validate(settings), TASKS["text-generation"])
    lengths = {part: [len(text) for text, of in zip(texts, PARTS * 5, strict=True) if of == part] for part in PARTS}
    assert found(data) == {"text": lengths}
    (tmp_path / "one.txt").write_text("a line\n" * 50)
    alone = load_dataset(Dataset(source=str(tmp_path / "one.txt")), TASKS["text-generation"])
    assert found(alone) == {}


@pytest.mark.parametrize("task", TEXTED)
def test_each_task_on_texts_has_a_figure_with_a_limit(task, tiny_data):
    data = load_dataset(Dataset.model_validate(tiny_data(task)), TASKS[task])
    lengths = text_lengths(data.fields, data.parts)
    if data.fields.layout.joins:
        assert lengths == []
        return
    figure = draw_lengths(lengths)
    assert isinstance(figure, Figure)
    for axes, each in zip(figure.axes, lengths, strict=True):
        (limit,) = [line for line in axes.lines if set(line.get_xdata()) == {each.limit}]
        assert limit.get_linestyle() == "--"
        longer = each.longer() / sum(map(len, each.parts.values()))
        assert axes.get_title().startswith(f"{each.column}: {longer:.1%} of ")
        assert [len(each) for each in each.parts.values()] == [
            len(set(samples.ids.tolist())) for samples in data.parts.values()
        ]


def test_a_few_very_long_texts_are_drawn_in_powers_of_ten():
    few, many = ([9] * 50, [9] * 50 + [9000])
    scales = []
    for each in (few, many):
        lengths = TextLengths("text", "words", 256, "are cut off there", {"train": pd.Series(each).to_numpy()})
        scales.append(draw_lengths([lengths]).axes[0].get_xscale())
    assert scales == ["linear", "log"]


def test_a_table_without_texts_has_none(tiny_data):
    data = load_dataset(Dataset.model_validate(tiny_data("tabular-classification")), TASKS["tabular-classification"])
    assert text_lengths(data.fields, data.parts) == []


def test_texts_for_an_encoder_decoder_are_counted_without_what_it_has_around_them(tmp_path: Path, tiny_model):
    columns = {"en": ["cat", "dog", "cat", "dog"], "de": ["Kater", "Hund", "rote", "der"], "part": PARTS}
    pd.DataFrame(columns).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    dataset = {
        "source": str(tmp_path / "a.jsonl"),
        "columns": {"label": "de", "features": ["en"]},
        "split": {"column": "part"},
        "text": {"length": 5, "tokenizer": str(tiny_model("bart")), "prefix": "no "},
    }
    data = load_dataset(Dataset.model_validate(dataset), TASKS["translation"])
    source, target = text_lengths(data.fields, data.parts)
    encode = data.fields.tokenizer.encode
    assert (source.limit, target.limit) == (3, 4)  # of 5, <s> and </s> are around one, <s> before the other
    assert source.parts["train"].tolist() == [*map(len, encode(["no cat", "no dog"]))]
    assert target.parts["train"].tolist() == [*map(len, encode(["Kater", "Hund"]))]
    assert target.beyond == "are cut off there (dataset.text.length, at most what the model reads)"
