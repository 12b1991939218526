"""Questions and answers in the JSON of SQuAD."""

import json
from pathlib import Path
from typing import Any

import pytest

from stoker.datasets.formats.format_inference import infer_format
from stoker.datasets.inspection import inspect
from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.report.examination import examine, proposed_job
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS
from stoker.jobfile.loading import parse_job

TASK = TASKS["question-answering"]
TEXT = "Rollo was a Norse leader. \U0001f388 He came from Norway."
WHERE = {"question": "Where from?", "id": "a", "answers": [{"text": "Norway", "answer_start": 41}]}
WHY = {"question": "Why?", "id": "b", "answers": [], "is_impossible": True, "plausible_answers": [{"text": "x"}]}


def squad(*questions: dict[str, Any], context: str = TEXT) -> dict[str, Any]:
    return {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_question_is_a_row_with_its_text_and_all_its_answers(tmp_path: Path):
    records, name = read_source(Dataset(source=str(written(tmp_path / "a.json", squad(WHERE, WHY)))))
    assert (name, records.label) == ("squad", "answer")
    first, second = records.frame.to_dict("records")
    assert first == {
        "id": "a", "question": "Where from?", "context": TEXT, "answer": json.dumps(WHERE["answers"]),
    }  # fmt: skip
    assert second["answer"] == ""


def test_the_files_of_a_folder_are_its_parts(tmp_path: Path):
    for name in ("train-v2.0.json", "dev-v2.0.json"):
        written(tmp_path / name, squad(*[WHERE, WHY] * 10))
    assert infer_format(tmp_path) == "squad"
    assert inspect(None, Dataset(source=str(tmp_path)), "question-answering") == []
    data = load_dataset(Dataset.model_validate({"source": str(tmp_path), "split": {"test": 0}}), TASK)
    assert {part: len(samples) for part, samples in data.parts.items()} == {"train": 20, "val": 20}
    assert data.spec.columns.features == ("question", "context")
    assert data.fields.target.output.optional  # type: ignore[union-attr]


def test_other_json_stays_a_table(tmp_path: Path):
    for content in ([{"data": 1}], {"data": {"x": 1}}, {"text": "a", "data": []}):
        assert infer_format(written(tmp_path / "a.json", content)) == "jsonl"


def test_a_file_without_answers_is_read_to_predict(tmp_path: Path):
    path = written(tmp_path / "a.json", squad({"question": "Who?"}))
    assert read_source(Dataset(source=str(path)))[0].frame["answer"].tolist() == [""]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"data": [{"title": "t"}]}, "data[0] has no list 'paragraphs'; SQuAD has {"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "data[0].paragraphs[0] has no text 'context'"),
        (squad({"id": "a"}), "data[0].paragraphs[0].qas[0] has no text 'question'"),
        (squad({"question": "?", "answers": [{"answer_start": 1}]}), "qas[0].answers[0] has no text 'text'"),
        (squad({"question": "?", "answers": [{"text": "a"}]}), "answers[0] has no whole number 'answer_start'"),
        (squad(), "it holds no questions"),
    ],
)
def test_a_file_of_another_form_is_reported_with_the_place(tmp_path: Path, content: Any, expected: str):
    path = written(tmp_path / "a.json", content)
    with pytest.raises(JobError) as raised:
        load_dataset(Dataset(source=str(path), format="squad"), TASK)
    assert f"cannot read '{path}': " in str(raised.value)
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (40, "row 2 ('Where from?'): column 'context' has ' Norwa' at character 40, not the answer 'Norway'; correct"),
        (99, "row 2 ('Where from?'): the answer 'Norway' at characters 99 to 105 are outside of column 'context'"),
        (-1, "row 2 ('Where from?'): the answer 'Norway' at characters -1 to 5 are outside of column 'context'"),
    ],
)
def test_a_wrong_place_is_reported_with_the_question(tmp_path: Path, start: int, expected: str):
    wrong = {**WHERE, "answers": [{"text": "Norway", "answer_start": start}]}
    path = written(tmp_path / "a.json", squad(WHERE, wrong, *[WHERE] * 18))
    with pytest.raises(JobError) as raised:
        load_dataset(Dataset(source=str(path)), TASK)
    assert expected in str(raised.value)


def test_the_data_report_proposes_a_job_that_reads_it(tmp_path: Path):
    path = written(tmp_path / "a.json", squad(*[WHERE, WHY] * 10))
    found = examine(Dataset(source=str(path)))
    assert (found.task, found.guessed, list(found.roles.inputs)) == (
        "question-answering",
        False,
        ["question", "context"],
    )
    job = parse_job(proposed_job(found, str(path), "job.yaml"), "job.yaml").job
    assert (job.task, job.dataset.columns.label) == ("question-answering", "answer")
    load_dataset(job.dataset, TASK)


def test_public_questions_have_all_their_answers_in_their_texts(public_data):
    dataset = {"source": str(public_data("squad2")), "split": {"test": 0}}
    data = load_dataset(Dataset.model_validate(dataset), TASK)
    assert {part: counts[""] for part, counts in data.counts.items()} == {"train": 4963, "val": 1115}
