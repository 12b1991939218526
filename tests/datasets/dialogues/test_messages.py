"""Messages of dialogues: how they are read, and what is wrong with them."""

import json

import pandas as pd
import pytest

from stoker.datasets.dialogues.messages import (
    Dialogue,
    Message,
    as_cell,
    asked,
    holds_messages,
    read_dialogues,
    without_oldest,
)
from stoker.datasets.inspection import inspect
from stoker.datasets.loading import load_dataset
from stoker.datasets.report.examination import examine, proposed_job
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS
from stoker.jobfile.loading import parse_job

GOOD = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
TASK = TASKS["instruction-tuning"]


def user(text: str) -> Message:
    return Message("user", text)


def bot(text: str) -> Message:
    return Message("assistant", text)


def test_messages_are_read_from_json_and_from_lists():
    expected: list[Dialogue] = [(user("Hi"), bot("Hello!"))]
    assert read_dialogues(pd.Series([json.dumps(GOOD)]), "messages", plain=False) == expected
    assert read_dialogues(pd.Series([GOOD]), "messages", plain=False) == expected
    assert read_dialogues(pd.Series(["Hi [1]"]), "messages", plain=True) == [(user("Hi [1]"),)]
    assert as_cell(expected[0]) == json.dumps(GOOD)


def test_a_column_of_messages_is_told_from_other_lists():
    assert holds_messages(pd.Series([json.dumps(GOOD)]))
    assert not holds_messages(pd.Series(['["a", "b"]', "text", None]))


def test_the_oldest_turn_goes_first_and_the_system_stays():
    system = Message("system", "s")
    talk = (system, user("1"), bot("2"), user("3"), bot("4"))
    assert without_oldest(talk) == (system, user("3"), bot("4"))
    assert without_oldest((system, user("3"), bot("4"))) is None
    assert asked(talk) == talk[:-1]
    assert asked((user("1"),)) == (user("1"),)


BAD = [
    (None, "column 'messages' is empty; write messages such as "),
    (12, "column 'messages' has '12', no list of messages; write it as "),
    ({"role": "user"}, "no list of messages; write it as "),
    ([], "column 'messages' has '[]', no list of messages; write it as "),
    (["Hi"], "message 1 is 'Hi', without a role; write it as "),
    ([{"content": "Hi"}], "without a role; write it as "),
    ([{"role": "bot", "content": "Hi"}], "message 1 has the role 'bot'; use system, user or assistant"),
    ([GOOD[0], {"role": "assistant", "content": ""}], "the content of message 2 (assistant) is empty; write a text"),
    ([{"role": "user", "content": 5}, GOOD[1]], "the content of message 1 (user) is '5', no text; write it in quotes"),
    ([{"role": "user"}, GOOD[1]], "the content of message 1 (user) is 'null', no text; write it in quotes"),
    ([GOOD[0]], 'no message is an answer, which is what is learnt; add one of the role "assistant"'),
]


@pytest.mark.parametrize(("bad", "message"), BAD, ids=lambda each: str(each)[:40])
def test_a_bad_dialogue_is_named_with_its_row_and_the_cure(bad, message, tmp_path):
    rows = [{"messages": GOOD} for _ in range(5)]
    rows[3] = {"messages": bad}
    (tmp_path / "d.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for act in (
        lambda: load_dataset(Dataset.model_validate({"source": str(tmp_path / "d.jsonl"), "split": "none"}), TASK),
        lambda: examine(Dataset(source=str(tmp_path / "d.jsonl")), "instruction-tuning"),
    ):
        with pytest.raises(JobError) as caught:
            act()
        (problem,) = caught.value.problems
        assert problem.path == "dataset.source"
        assert problem.message.startswith("row 4: ")
        assert message in problem.message


def test_a_column_of_answers_that_lacks_one_is_named_with_its_row(tmp_path):
    frame = pd.DataFrame({"prompt": ["a", "b", "c"], "response": ["x", None, "z"]})
    frame.to_csv(tmp_path / "d.csv", index=False)
    dataset = {"source": str(tmp_path / "d.csv"), "columns": {"label": "response"}, "split": "none"}
    with pytest.raises(JobError, match=r"row 2: there is no answer in column 'response'; write it, or remove the row"):
        load_dataset(Dataset.model_validate(dataset), TASK)


def test_data_without_messages_names_the_form(tmp_path):
    pd.DataFrame({"text": ["a", "b"]}).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(JobError, match=r"'text' is left out: it holds no lists of messages such as \[\{\"role\""):
        load_dataset(Dataset.model_validate({"source": str(tmp_path / "d.csv"), "split": "none"}), TASK)


def test_a_file_of_dialogues_is_recognised_and_its_proposed_job_is_valid(tmp_path):
    file = tmp_path / "d.jsonl"
    talks = [[{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": str(n)}] for n in range(40)]
    file.write_text("".join(f"{json.dumps({'messages': talk})}\n" for talk in talks))
    examined = examine(Dataset(source=str(file)))
    assert examined.task == "instruction-tuning"
    assert [(each.name, each.kind) for each in examined.report.columns] == [("messages", "dialogue")]
    assert examined.report.columns[0].summary == "2 to 2 messages, median 2"
    job = parse_job(proposed_job(examined, str(file), "job.yaml"), "job.yaml").job
    assert inspect(job, None, None) == []
    assert set(load_dataset(job.dataset, TASK).parts) == {"train", "val", "test"}
