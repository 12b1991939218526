"""The best span of a window, and of all windows of a question."""

import json
import math
from itertools import product

import pandas as pd
import pytest
import torch

from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.answer import AnswerField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.records import table
from stoker.datasets.windows.answer_windows import AnswerWindow, packed_texts
from stoker.job.signature import PAIR
from stoker.tasks.reading.best_spans import best_of_each, best_spans
from stoker.tasks.reading.question_answering import AnswerMetrics, QuestionAnswering

LETTERS = json.dumps(" abcdefghijklmnopqrstuvwxyz?")
TEXT = "ann has red ink bob has a blue hat"
ROWS = [
    {"question": "who?", "context": TEXT, "answer": "bob"},
    {"question": "what?", "context": TEXT, "answer": "red ink"},
    {"question": "why?", "context": "red", "answer": ""},
]


def fields(optional: bool = True, length: int = 22) -> Fields:
    texts = (TextField(name, "characters", LETTERS, length) for name in ("question", "context"))
    return Fields(tuple(texts), AnswerField("answer", 9, optional))


def batch_of(made: Fields, rows, numbers: list[int] | None = None):
    samples = made.encode(table(pd.DataFrame(ROWS)))
    index = torch.arange(len(samples)) if numbers is None else torch.tensor(numbers)
    return samples, rows(made.gather(samples, index), samples.target.take(index))


def perfect(batch) -> torch.Tensor:
    """Logits that name the learnt places."""
    logits = torch.zeros(*batch.inputs[PAIR].shape[:2], 2)
    for row, target in enumerate(batch.target.tolist()):
        for side in (0, 1):
            logits[row, target[side], side] = 9.0
    return logits


@pytest.mark.parametrize("longest", [1, 3, 99])
def test_the_best_span_is_that_of_all_that_begin_before_they_end(longest, rows):
    _, batch = batch_of(fields(), rows)
    pair = batch.inputs[PAIR]
    logits = torch.randn(*pair.shape[:2], 2, generator=torch.Generator().manual_seed(0))
    found = best_spans(logits, pair, longest)
    for row in range(len(pair)):
        there = (pair[row, :, 3] > pair[row, :, 2]).nonzero().flatten().tolist()
        spans = [(b, e) for b, e in product(there, there) if b <= e < b + longest]
        begin, end = max(spans, key=lambda span: float(logits[row, span[0], 0] + logits[row, span[1], 1]))
        odds = logits[row, begin, 0] + logits[row, end, 1] - logits[row, 0].sum()
        allowed = [0, *there]
        sums = [logits[row, allowed, side].logsumexp(0) for side in (0, 1)]
        probability = (logits[row, begin, 0] + logits[row, end, 1] - sums[0] - sums[1]).exp()
        expected = [odds, pair[row, begin, 2], pair[row, end, 3], probability]
        assert found[row, :4].tolist() == pytest.approx([float(each) for each in expected], rel=1e-4)
        assert found[row, 4].item() == pytest.approx(float((logits[row, 0].sum() - sum(sums)).exp()), rel=1e-4)


def test_padding_changes_no_span(rows):
    _, batch = batch_of(fields(), rows)
    pair = torch.nn.functional.pad(batch.inputs[PAIR], (0, 0, 0, 5))
    logits = torch.randn(*pair.shape[:2], 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(best_spans(logits, pair, 9), best_spans(logits[:, :-5], pair[:, :-5], 9))


def test_a_window_without_any_token_of_the_text_has_no_span():
    pair = torch.tensor([[[2, 1, 0, 0], [5, 1, 0, 0]]])
    (found,) = best_spans(torch.zeros(1, 2, 2), pair, 3).tolist()
    assert found == [-math.inf, 0, 0, 0, 1]


def test_each_question_counts_once_with_the_best_of_its_windows(rows):
    samples, batch = batch_of(fields(), rows)
    assert samples.ids.tolist() == [0, 0, 0, 1, 1, 1, 2]
    metrics = AnswerMetrics(fields().target.output)
    metrics.update(perfect(batch), batch)
    assert metrics.compute() == {"exact_match": 1.0, "f1": 1.0}
    wrong = perfect(batch)
    wrong[0, 8:10] = 20.0  # a window without the answer of the first question is surer than the one that has it
    metrics = AnswerMetrics(fields().target.output)
    metrics.update(wrong, batch)
    assert metrics.compute() == {"exact_match": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3)}


def test_windows_of_a_question_on_several_workers_are_merged_exactly(rows):
    _, batch = batch_of(fields(), rows)
    logits = (
        torch.randn(*batch.inputs[PAIR].shape[:2], 2, generator=torch.Generator().manual_seed(3)) + perfect(batch) / 4
    )
    together = AnswerMetrics(fields().target.output)
    together.update(logits, batch)
    for cut in ([0, 3], [1], [6]):
        mine, other = AnswerMetrics(fields().target.output), AnswerMetrics(fields().target.output)
        others = [row for row in range(7) if row not in cut]
        for metrics, chosen in ((mine, cut), (other, others)):
            metrics.update(logits[chosen], rows({PAIR: batch.inputs[PAIR][chosen]}, batch.target[chosen]))
        mine.merge(other.state())
        assert mine.compute() == together.compute()


def test_without_questions_there_are_no_scores():
    assert all(map(math.isnan, AnswerMetrics(fields().target.output).compute().values()))


def test_no_answer_is_given_only_where_the_data_has_such_questions():
    spans = torch.tensor([[-1.0, 4.0, 7.0, 0.2, 0.6]])
    records = table(pd.DataFrame([{"question": "who?", "context": "red ann", "answer": ""}]))
    none = QuestionAnswering(fields(optional=True)).answers(spans, records).table
    assert none.to_dict("records") == [{"prediction": "", "score": pytest.approx(0.6), "begin": 0, "end": 0}]
    some = QuestionAnswering(fields(optional=False)).answers(spans, records).table
    assert some.to_dict("records") == [{"prediction": "ann", "score": pytest.approx(0.2), "begin": 4, "end": 7}]


def test_the_best_window_of_each_question_is_taken_in_the_order_of_the_questions():
    spans = torch.tensor([[1.0, 1], [3.0, 2], [2.0, 3], [-math.inf, 4], [5.0, 5], [5.0, 6]])
    assert best_of_each(spans, torch.tensor([0, 0, 0, 1, 2, 2]))[:, 1].tolist() == [2, 4, 5]


def test_the_loss_is_the_mean_of_both_ends_among_the_places_that_may_be_one(rows):
    _, batch = batch_of(fields(), rows, [1, 6])
    loss = QuestionAnswering(fields()).objective(torch.nn.Identity(), None)  # type: ignore[arg-type] # has no settings
    logits = torch.zeros(*batch.inputs[PAIR].shape[:2], 2)
    places = ((batch.inputs[PAIR][..., 3] > batch.inputs[PAIR][..., 2]).sum(dim=1) + 1).float()
    torch.testing.assert_close(loss.losses(logits, batch), places.log())


def test_the_least_expected_answers_are_shown_with_their_texts(rows):
    samples, batch = batch_of(fields(), rows)
    review = QuestionAnswering(fields()).review()
    logits = perfect(batch)
    logits[6, 6, 0] = logits[6, 8, 1] = 30.0
    review.update(logits, batch, samples.ids)
    first, *_ = review.rows()
    assert {key: first[key] for key in ("id", "question", "target", "prediction")} == {
        "id": 2, "question": "why?", "target": "(no answer)", "prediction": "red",
    }  # fmt: skip
    assert len(review.rows()) == 3


def test_answers_are_highlighted_in_their_texts(rows):
    _, batch = batch_of(fields(), rows)
    right, wrong = perfect(batch), perfect(batch)
    wrong[:, :, 0] = wrong[:, :, 1] = 0.0
    wrong[:, 6, 0] = wrong[:, 6, 1] = 30.0
    for logits, framed in ((right, False), (wrong, True)):
        page = QuestionAnswering(fields()).show(lambda _, logits=logits: logits, batch, 0)
        marked = 0
        for text, highlights in zip(page.texts, page.highlights, strict=True):
            said = {line[:10].strip(): line[10:] for line in text.split("\n")}
            answer, found = said["answer:"].removesuffix(" (not in this window)"), said["found:"]
            assert highlights or said["text:"]
            for each in highlights:
                part = text[each.begin + 1 : each.end - 1]
                assert part in (answer, found)
                assert each.wrong == (answer != found)
                marked += each.wrong == framed
        assert marked > 1
    assert page.note


def test_what_is_learnt_of_a_window_survives_its_numbers():
    window = AnswerWindow(3, 5, 70_000, 12, "Größe 🎈 日本", "wie?", ("🎈", "", "日本"))
    packed = window.packed(packed_texts(window.answers))
    padded = torch.nn.functional.pad(torch.from_numpy(packed), (0, 9)).numpy()
    assert AnswerWindow.unpacked(packed) == AnswerWindow.unpacked(padded) == window
