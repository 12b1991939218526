"""Scores of written texts are those of the libraries that papers report."""

import json

import pandas as pd
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu
from torch import nn
from torch.nn import functional

from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.tokens.tokenizer import END
from stoker.job.dataset import Dataset
from stoker.job.signature import WRITTEN
from stoker.tasks.writing.teacher_forcing import TeacherForcing, forced
from stoker.tasks.writing.text_metrics import ROUGE, Bleu, Rouge

KNOWN = ["The cat sat on the mat, again.", "A dog runs in the park", "Nothing is left", "the man is reading a book"]
OWN = ["The cat sat on a mat, again.", "A dog was running in a park", "Nothing is left", ""]


@pytest.fixture(scope="module")
def target() -> TargetTextField:
    return TargetTextField.fit("y", pd.Series(KNOWN), Dataset(source="data"))


def compared(target, rows, own, known):
    column = target.encode(pd.Series(own))
    written = column.take(torch.arange(len(own)))
    references = target.encode(pd.Series(known)).take(torch.arange(len(known)))
    return torch.cat([torch.zeros(len(own), 1), written.float()], dim=1), rows({}, references)


def test_bleu_is_that_of_sacrebleu(target, rows):
    metrics = Bleu(target)
    for place in range(4):
        metrics.update(*compared(target, rows, OWN[place : place + 1], KNOWN[place : place + 1]))
    assert metrics.compute() == {"bleu": pytest.approx(corpus_bleu(OWN, [KNOWN]).score), "exact_match": 0.25}
    assert 0 < metrics.compute()["bleu"] < 100


def test_rouge_is_the_mean_of_all_texts(target, rows):
    metrics = Rouge(target)
    metrics.update(*compared(target, rows, OWN[:3], KNOWN[:3]))
    metrics.update(*compared(target, rows, OWN[3:], KNOWN[3:]))
    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    found = [scorer.score(known, own) for known, own in zip(KNOWN, OWN, strict=True)]
    expected = {name: pytest.approx(sum(each[name].fmeasure for each in found) / 4) for name in ROUGE}
    assert metrics.compute() == {**expected, "exact_match": 0.25}


def test_the_reference_is_the_whole_text_also_where_less_is_learnt(rows):
    text = "a b c d e f g h"
    target = TargetTextField.fit("y", pd.Series([text]), Dataset.model_validate({"source": "x", "text": {"length": 3}}))
    metrics = Bleu(target)
    output, batch = compared(target, rows, [text], [text])
    metrics.update(output, batch)
    assert metrics.compute() == {"bleu": pytest.approx(100), "exact_match": 1.0}
    assert (target.output.length, target.output.longest) == (4, 4)


def test_no_texts_have_no_scores(target):
    assert all(value != value for metrics in (Bleu(target), Rouge(target)) for value in metrics.compute().values())


class Given(nn.Module):
    """Returns the same logits for each place."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, inputs):
        assert inputs[WRITTEN][:, 0].tolist() == [END] * len(inputs[WRITTEN])
        return self.logits[:, : inputs[WRITTEN].shape[1]]


@pytest.mark.parametrize("weight", [None, [1.0, 3.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_each_token_is_learnt_from_those_before_it(rows, weight, smoothing):
    logits = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[5, 6, 7, 8, END], [4, END, 0, 0, 0]])
    weights = None if weight is None else torch.tensor(weight)
    batch = rows({"text": torch.ones(2, 3, dtype=torch.int64)}, target, weights)
    objective = TeacherForcing(Given(logits), 4, smoothing)
    counted = [4, 2] if weight is None else [4 * 1, 2 * 3]
    assert float(objective.counts(batch, "network")["loss"]) == sum(counted)
    for share, total in (
        (smoothing, objective(batch, "network", None)["loss"]),
        (0.0, objective.evaluate(batch, None)[0]["loss"].total),
    ):
        each = [
            functional.cross_entropy(logits[row, :count], target[row, :count], label_smoothing=share, reduction="sum")
            for row, count in ((0, 4), (1, 2))
        ]
        torch.testing.assert_close(total, sum(one * (weight or [1, 1])[row] for row, one in enumerate(each)))
    assert objective.evaluate(batch, None)[1].shape == (2, 4)


def test_what_is_written_begins_with_the_end_of_a_text():
    found = forced({"a": torch.ones(2, 1)}, torch.tensor([[5, 6, END], [4, END, 0]]))
    assert found[WRITTEN].tolist() == [[END, 5, 6], [END, 4, END]]
    assert json.dumps([*found]) == '["a", "written"]'
