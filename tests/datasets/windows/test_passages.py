"""Questions and their texts in sequences of tokens."""

import json
from itertools import pairwise

import pandas as pd
import pytest

from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.answer import AnswerField
from stoker.datasets.loading import load_dataset
from stoker.datasets.records import table
from stoker.datasets.tokens.tokenizer import END
from stoker.datasets.windows.answer_windows import AnswerWindow
from stoker.datasets.windows.passages import window_starts
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import CONTEXT, PAIR, QUESTION, REPEATED
from stoker.job.task import TASKS

WORDS = [f"word{number}" for number in range(40)]
TEXT = "  Zoë has the RED ball, İpek the\tblue one 🎈 of 日本. "
ROLES = Roles({"question": "text", "context": "text"}, "answer", ())


def fitted(rows: list[dict[str, str]], **text: object) -> Fields:
    settings = Dataset.model_validate({"source": "a.csv", "text": text})
    return Fields.fit(table(pd.DataFrame(rows)), ROLES, "answer", settings)


def encoded(rows: list[dict[str, str]], **text: object):
    samples = fitted(rows, **text).encode(table(pd.DataFrame(rows)))
    pairs = [each.numpy() for each in samples.inputs[PAIR].values.split(samples.inputs[PAIR].lengths().tolist())]
    packed = samples.target.values.split(samples.target.lengths().tolist())
    targets = [AnswerWindow.unpacked(each.numpy()) for each in packed]
    return samples, pairs, targets


@pytest.mark.parametrize("tokens", ["words", "characters", "bytes", "bpe", "wordpiece"])
@pytest.mark.parametrize("answer", ["Zoë", "RED ball", "İpek", "🎈", "日本"])
def test_the_learnt_places_give_the_answer_in_the_words_of_the_text(tokens: str, answer: str):
    row = {"question": "Who has the ball?", "context": TEXT, "answer": answer}
    _, (pair,), (window,) = encoded([row], tokens=tokens, length=200)
    assert window.begin > 0
    assert window.part(int(pair[window.begin, 2]), int(pair[window.end, 3])) == answer
    assert TEXT[int(pair[window.begin, 2]) : int(pair[window.end, 3])] == answer
    assert (window.question, window.answers) == (row["question"], (answer,))


def test_the_network_is_told_which_tokens_are_the_question_and_which_the_text_repeats():
    row = {"question": "who has ink", "context": "ann has red", "answer": "ann"}
    _, (pair, _), _ = encoded([row, {**row, "question": "ann red ink"}], tokens="words")
    assert pair[:, 1].tolist() == [QUESTION] * 5 + [CONTEXT, REPEATED, CONTEXT]
    assert pair[[0, 4], 0].tolist() == [END, END]
    assert (pair[:5, 2:] == 0).all()
    assert pair[5:, 2:].tolist() == [[0, 3], [4, 7], [8, 11]]


def test_windows_overlap_by_a_third_and_hold_every_token():
    for tokens in range(60):
        for size in range(1, 12):
            starts = list(window_starts(tokens, size))
            assert starts[0] == 0
            assert starts[-1] + size >= tokens
            assert all(start < tokens for start in starts[1:])
            covered = {place for start in starts for place in range(start, min(start + size, tokens))}
            assert covered == set(range(tokens))
            if size >= 3:
                assert all(later - start == size - size // 3 for start, later in pairwise(starts))


def test_each_window_of_a_long_text_is_a_sample_and_learns_what_is_in_it():
    row = {"question": "which word?", "context": " ".join(WORDS), "answer": "word20 word21"}
    samples, pairs, windows = encoded([{**row, "context": "word20 word21"}, row], tokens="words", length=17)
    assert samples.ids.tolist() == [0, 1, 1, 1, 1, 1]
    assert all(len(pair) <= 17 for pair in pairs)
    for pair, window in zip(pairs[1:], windows[1:], strict=True):
        assert window.question_number == 1
        has = "word20 word21" in window.text
        assert (window.begin > 0) == has
        if has:
            assert window.part(int(pair[window.begin, 2]), int(pair[window.end, 3])) == "word20 word21"
    assert sum(window.begin > 0 for window in windows[1:]) >= 1
    assert {word for window in windows[1:] for word in window.text.split()} == set(WORDS)


def test_a_window_does_not_depend_on_other_questions():
    rows = [
        {"question": f"which {number}?", "context": " ".join(WORDS[: 3 * number + 2]), "answer": "word1"}
        for number in range(6)
    ]
    fields = fitted(rows, tokens="words", length=17)
    whole = fields.encode(table(pd.DataFrame(rows)))
    alone = fields.encode(table(pd.DataFrame(rows[4:5])))
    few = whole.rows((whole.ids == 4).nonzero().flatten())
    assert few.inputs[PAIR].values.equal(alone.inputs[PAIR].values)


def test_a_long_question_leaves_half_of_the_room_to_the_text():
    row = {"question": " ".join(WORDS), "context": " ".join(WORDS), "answer": "word3"}
    _, pairs, _ = encoded([row], tokens="words", length=12)
    assert {int((pair[:, 1] == QUESTION).sum()) for pair in pairs} == {5 + 2}
    assert {len(pair) for pair in pairs[:-1]} == {12}


def test_a_length_without_room_is_reported():
    row = {"question": "who", "context": "ann", "answer": "ann"}
    with pytest.raises(
        JobError, match=r"dataset\.text\.length: 3 tokens do not hold a question and a text; use at least 4"
    ):
        fitted([row], length=3)


def test_the_answers_length_is_that_of_the_training_part():
    rows = [{"question": "who", "context": "ann or bob or cem", "answer": answer} for answer in ("ann", "bob or cem")]
    target = fitted(rows, tokens="words").target
    assert isinstance(target, AnswerField)
    assert (target.longest, target.optional) == (3 + 2, False)
    assert fitted([*rows, {**rows[0], "answer": ""}]).target.output.optional


def test_questions_and_texts_have_one_vocabulary_which_survives_json():
    fields = fitted([{"question": "who", "context": "ann or bob", "answer": "ann"}], tokens="bpe")
    assert sorted(fields.assets()) == ["context.vocabulary.txt", "question.vocabulary.txt"]
    again = Fields.from_json(json.loads(json.dumps(fields.to_json())), fields.assets())
    assert again == fields
    assert again.signature == fields.signature


def load(folder, rows: list[dict[str, object]], split: object = None, **columns: object):
    pd.DataFrame(rows).to_csv(folder / "a.csv", index=False)
    dataset = {"source": str(folder / "a.csv"), "columns": {"label": "answer", **columns}, "split": split or {}}
    settings = {**dataset, "text": {"tokens": "words", "length": 9}}
    return load_dataset(Dataset.model_validate(settings), TASKS["question-answering"])


GOOD = {"question": "who is it", "context": "it is ann", "answer": "ann"}


def test_long_texts_and_cut_questions_are_counted(tmp_path):
    rows = [{**GOOD, "context": f"it is ann {number}"} for number in range(20)]
    rows[0]["context"] += " of a town far away and of no other one"
    rows[1]["question"] = "who of all of them is it"
    data = load(tmp_path, rows, split="none")
    assert data.spec.columns.features == ("question", "context")
    assert data.notes == (
        "column 'context': 1 of 20 training texts have over 9 words with their question; they are read in overlapping "
        "windows (dataset.text.length)",
        "column 'question': 1 of 20 training questions have over 3 words and are cut off there",
    )


def test_parts_are_of_whole_questions(tmp_path):
    rows = [{**GOOD, "context": f"it is ann {'and so on ' * (number % 4)}"} for number in range(40)]
    data = load(tmp_path, rows, features=["question", "context"])
    ids = {part: set(samples.ids.tolist()) for part, samples in data.parts.items()}
    assert sorted(number for each in ids.values() for number in each) == list(range(40))
    assert sum(len(samples) for samples in data.parts.values()) > 40
    assert {part: counts[""] for part, counts in data.counts.items()} == {part: len(each) for part, each in ids.items()}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"answer": "Ann"},
            "row 3 ('who is it'): the answer 'Ann' does not occur in column 'context'; copy it from there letter by "
            "letter, or leave it empty if 'context' does not answer the question",
        ),
        (
            {"answer_start": 5},
            "row 3 ('who is it'): column 'context' has ' an' at character 5, not the answer 'ann'; correct "
            "answer_start, or leave it out to take the place where the answer first occurs",
        ),
        (
            {"answer_start": 7},
            "row 3 ('who is it'): the answer 'ann' at characters 7 to 10 are outside of column 'context', which has 9; "
            "correct answer_start, or leave it out to take the place where the answer first occurs",
        ),
        (
            {"answer_start": 1.5},
            "column 'answer_start', row 3: '1.5' is no place of a character; count from 0, or leave it empty",
        ),
    ],
)
def test_an_answer_that_is_no_part_of_its_text_is_reported_with_its_row(tmp_path, change, expected):
    rows = [{**GOOD, "answer_start": 6} for _ in range(20)]
    if "answer" in change:
        rows = [dict(GOOD) for _ in range(20)]
    rows[2] = {**rows[2], **change}
    with pytest.raises(JobError) as raised:
        load(tmp_path, rows)
    assert str(raised.value) == f"dataset.columns.label: {expected}"


def test_data_without_any_answer_is_reported(tmp_path):
    with pytest.raises(JobError, match="no training row has an answer in column 'answer': there is nothing to learn"):
        load(tmp_path, [{**GOOD, "answer": None} for _ in range(20)])


def test_other_columns_than_a_question_and_a_text_are_reported(tmp_path):
    message = r"dataset\.columns\.features: a question with the text that answers it takes two columns of texts, not 1"
    with pytest.raises(JobError, match=message):
        load(tmp_path, [GOOD] * 20, features=["context"])


def test_the_two_longest_texts_are_taken_where_no_names_tell(tmp_path):
    rows = [
        {"id": f"q{number}", "q": f"who is it {number}", "passage": f"it is ann, not bob {number}", "answer": "ann"}
        for number in range(20)
    ]
    data = load(tmp_path, rows)
    assert data.spec.columns.features == ("q", "passage")
    assert data.spec.columns.label == "answer"
