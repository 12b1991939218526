"""Tags of words: what is minimised, counted, answered and shown."""

import json
import warnings

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from sklearn.metrics import precision_recall_fscore_support
from torch import nn
from torch.nn import functional

from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.word_tags import WordTagsField
from stoker.datasets.fields.texts.words import CHARACTERS, WordsField
from stoker.datasets.records import table
from stoker.job.signature import WordTagsOutput
from stoker.job.training import Training
from stoker.tasks.reading.spans import Span, iob2, marked, spans, with_tags
from stoker.tasks.reading.tag_counts import TagCounts
from stoker.tasks.reading.token_classification import TokenClassification, WordEntropy

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
SPEECH = ("DET", "NOUN", "VERB", "PUNCT")
WORDS = WordsField("words", json.dumps({"words": ["ann"], "characters": "ARaemnosw"}), 6)
ENTITIES = WordTagsOutput(TAGS, ("LOC", "PER"))
SENTENCES = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=7), min_size=1, max_size=6
)


def padded(sentences: list[list[int]]) -> torch.Tensor:
    width = max(map(len, sentences))
    return torch.tensor([each + [0] * (width - len(each)) for each in sentences])


def counted(found: list[list[str]], true: list[list[str]], target: WordTagsOutput, cut: int = 0) -> TagCounts:
    """Count sentences; those from `cut` on as another worker."""
    counts, other = TagCounts(target), TagCounts(target)
    for each, some in ((counts, slice(0, cut or None)), (other, slice(cut or len(true), None))):
        if true[some]:
            predicted = padded([[target.tags.index(tag) for tag in tags] for tags in found[some]])
            each.update(predicted, padded([[target.tags.index(tag) + 1 for tag in tags] for tags in true[some]]))
    counts.merge(other.state())
    return counts


class TestSpans:
    @pytest.mark.parametrize(
        ("tags", "expected"),
        [
            (["B-PER", "I-PER", "O", "B-LOC"], [Span(0, 2, "PER"), Span(3, 4, "LOC")]),
            (["O", "I-PER", "I-PER"], [Span(1, 3, "PER")]),
            (["B-PER", "I-LOC", "I-LOC"], [Span(0, 1, "PER"), Span(1, 3, "LOC")]),
            (["B-PER", "B-PER"], [Span(0, 1, "PER"), Span(1, 2, "PER")]),
            (["S-LOC", "B-PER", "E-PER", "E-PER"], [Span(0, 1, "LOC"), Span(1, 3, "PER"), Span(3, 4, "PER")]),
            (["B", "I", "O"], [Span(0, 2, "_")]),
            (["B-creative-work"], [Span(0, 1, "creative-work")]),
            (["O"], []),
            ([], []),
        ],
    )
    def test_any_tags_are_read_as_entities(self, tags: list[str], expected: list[Span]):
        assert spans(tags) == expected

    @given(st.lists(st.sampled_from(TAGS), max_size=9))
    def test_entities_are_written_as_valid_tags_that_mean_the_same(self, tags: list[str]):
        written = iob2(spans(tags), len(tags))
        assert len(written) == len(tags)
        assert spans(written) == spans(tags)
        for before, tag in zip(["O", *written], written, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:]

    def test_a_sentence_is_written_for_people(self):
        words = ["Angela", "Merkel", "visited", "Rome", "."]
        assert (
            marked(words, spans(["B-PER", "I-PER", "O", "B-LOC", "O"])).text
            == "[Angela Merkel PER] visited [Rome LOC] ."
        )
        assert marked(words, spans(["B", "I", "O", "O", "O"])).text == "[Angela Merkel] visited Rome ."
        assert iob2(spans(["B", "I", "O", "O", "O"]), 5) == ["B", "I", "O", "O", "O"]
        assert with_tags(["dogs", "bark"], ["NOUN", "VERB"]).text == "dogs/NOUN bark/VERB"


class TestCounts:
    @given(SENTENCES, st.integers(0, 5))
    def test_scores_of_entities_are_those_of_seqeval_on_any_number_of_workers(self, pairs, cut):
        true = [[tag for tag, _ in sentence] for sentence in pairs]
        found = [[tag for _, tag in sentence] for sentence in pairs]
        counts = counted(found, true, ENTITIES, cut)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a division by zero, which gives 0
            expected = tuple(score(true, found) for score in (precision_score, recall_score, f1_score))
        if counts.predicted.sum() + counts.true.sum():
            assert counts.scores() == pytest.approx(expected)
        else:
            assert all(value != value for value in counts.scores())
        words = [each for sentence in pairs for each in sentence]
        assert counts.accuracy() == pytest.approx(sum(a == b for a, b in words) / len(words))

    @given(st.lists(st.tuples(st.sampled_from(SPEECH), st.sampled_from(SPEECH)), min_size=1, max_size=20))
    def test_scores_of_other_tags_are_the_macro_ones_of_scikit_learn(self, pairs):
        true, found = [tag for tag, _ in pairs], [tag for _, tag in pairs]
        scores = counted([found, found], [true, true], WordTagsOutput(SPEECH, ()), cut=1).scores()
        expected = precision_recall_fscore_support(true, found, average="macro", zero_division=0)
        assert scores == pytest.approx(expected[:3])

    def test_scores_by_type(self):
        true = [["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC", "O"]]
        found = [["B-PER", "O", "O", "B-LOC"], ["B-LOC", "B-LOC"]]
        counts = counted(found, true, ENTITIES)
        assert counts.names == ("LOC", "PER")
        assert counts.scores_by_name().tolist() == [[pytest.approx(2 / 3), 0.0], [1.0, 0.0], [pytest.approx(0.8), 0.0]]

    def test_nothing_is_not_defined(self):
        assert all(value != value for value in (*TagCounts(ENTITIES).scores(), TagCounts(ENTITIES).accuracy()))


class Given(nn.Module):
    def forward(self, inputs):
        return inputs["logits"]


class TestLoss:
    @pytest.mark.parametrize("weight", [None, [1.0, 0.0, 2.0]])
    @pytest.mark.parametrize("class_weights", [None, [0.5, 2.0, 1.0, 1.0, 3.0]])
    def test_the_loss_is_torchs_over_all_words(self, rows, weight, class_weights):
        logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
        target = torch.tensor([[1, 3, 5, 2], [2, 1, 0, 0], [4, 0, 0, 0]])
        of_row = torch.ones(3) if weight is None else torch.tensor(weight)
        of_tag = torch.ones(5) if class_weights is None else torch.tensor(class_weights)
        batch = rows({"logits": logits}, target, None if weight is None else of_row)
        objective = WordEntropy(Given(), None if class_weights is None else of_tag, smoothing=0.1)
        learnt = target > 0
        each = functional.cross_entropy(logits[learnt], target[learnt] - 1, reduction="none", label_smoothing=0.1)
        weights = (of_row.unsqueeze(1) * of_tag[(target - 1).clamp(min=0)])[learnt]
        torch.testing.assert_close(objective(batch, "network", None)["loss"], (each * weights).sum())
        torch.testing.assert_close(objective.counts(batch, "network")["loss"], weights.sum())
        losses, output = objective.evaluate(batch, None)
        torch.testing.assert_close(losses["loss"].total, (each * weights).sum())
        assert output is logits
        assert objective.state_dict() == {}

    def test_padding_has_no_gradient_and_no_batch_counts_nothing(self, rows):
        logits = torch.randn(1, 3, 5, requires_grad=True)
        objective = WordEntropy(Given(), smoothing=0.1)
        objective(rows({"logits": logits}, torch.tensor([[1, 2, 0]])), "network", None)["loss"].backward()
        assert logits.grad[0, :2].abs().min() > 0
        assert not logits.grad[0, 2].any()
        empty = rows({"logits": logits[:0]}, torch.zeros(0, 3, dtype=torch.int64))
        assert float(objective.counts(empty, "network")["loss"]) == 0
        assert float(objective(empty, "network", None)["loss"].detach()) == 0

    def test_weights_and_smoothing_come_from_the_job(self):
        training = Training(class_weights={"O": 0.1, "B-LOC": 2.0}, label_smoothing=0.2)
        objective = task().objective(Given(), training)
        assert objective.class_weights.tolist() == pytest.approx([0.1, 2, 1, 1, 1])


def task(tags: tuple[str, ...] = TAGS) -> TokenClassification:
    return TokenClassification(Fields((WORDS,), WordTagsField("tags", tags, numbered=False, length=6)))


def logits_of(tags: list[list[str]], names: tuple[str, ...] = TAGS) -> torch.Tensor:
    places = padded([[names.index(tag) for tag in sentence] for sentence in tags])
    return 4.0 * functional.one_hot(places, len(names)).float()


SENTENCE = ["Ann", "Rose", "saw", "Rome"]


def test_answers_are_valid_tags_and_the_entities():
    records = table(pd.DataFrame({"words": [json.dumps(SENTENCE), "Rome", None]}))
    outputs = logits_of([["I-PER", "I-PER", "O", "B-LOC"], ["I-LOC", "B-PER"], ["B-PER"]])
    answers = task().answers(outputs, records).table
    assert list(answers.columns) == ["prediction", "entities"]
    assert answers["prediction"].tolist() == ["B-PER I-PER O B-LOC", "B-LOC", ""]
    assert [json.loads(cell) for cell in answers["entities"]] == [
        [
            {"text": "Ann Rose", "type": "PER", "begin": 0, "end": 2},
            {"text": "Rome", "type": "LOC", "begin": 3, "end": 4},
        ],
        [{"text": "Rome", "type": "LOC", "begin": 0, "end": 1}],
        [],
    ]


def test_tags_that_mark_no_entities_are_answered_as_they_are():
    records = table(pd.DataFrame({"words": ["dogs bark ."]}))
    answers = task(SPEECH).answers(logits_of([["NOUN", "VERB", "PUNCT"]], SPEECH), records).table
    assert answers.to_dict("list") == {"prediction": ["NOUN VERB PUNCT"]}


@pytest.fixture
def batch(rows):
    """Two sentences, of which the network knows nothing of the second."""
    raw = pd.Series([json.dumps(SENTENCE), json.dumps(["Rome"])])
    target = padded([[TAGS.index(tag) + 1 for tag in tags] for tags in (["B-PER", "I-PER", "O", "B-LOC"], ["B-LOC"])])
    words = WORDS.prepare(WORDS.encode(raw).take(torch.arange(2)))
    assert words.shape == (2, 4, 1 + CHARACTERS)
    return logits_of([["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-PER"]]), rows({"words": words}, target)


def test_the_worst_sentences_come_first_with_their_entities_marked(batch):
    review = task().review()
    review.update(*batch, torch.tensor([3, 7]))
    worst = review.rows()
    assert [{**row, "loss": 0} for row in worst] == [
        {"id": 7, "target": "[Rome LOC]", "prediction": "Rome", "loss": 0},
        {"id": 3, **dict.fromkeys(("target", "prediction"), "[Ann Rose PER] saw [Rome LOC]"), "loss": 0},
    ]
    assert worst[0]["loss"] > 4 > worst[1]["loss"]
    (bars,) = review.figures().values()
    assert [label.get_text() for label in bars.axes[0].get_yticklabels()] == ["PER (1)", "LOC (2)"]


def test_sentences_are_shown_as_they_are_tagged(batch):
    outputs, few = batch
    page = task().show(lambda _: outputs, few, 0)
    both = "[Ann Rose PER] saw [Rome LOC]"
    assert page.texts == (f"truth: {both}\nfound: {both}", "truth: [Rome LOC]\nfound: Rome")
    assert page.kinds == ("LOC", "PER")
    marked = [
        [(text[h.begin : h.end], h.kind, h.wrong) for h in of]
        for text, of in zip(page.texts, page.highlights, strict=True)
    ]
    assert marked == [
        [("[Ann Rose PER]", "PER", False), ("[Rome LOC]", "LOC", False)] * 2,
        [("[Rome LOC]", "LOC", True)],
    ]


def test_a_tag_that_marks_no_entity_is_framed_where_it_is_wrong():
    page = with_tags(["dogs", "bark"], ["NOUN", "NOUN"], ["NOUN", "VERB"])
    (wrong,) = page.highlights
    assert page.text[wrong.begin : wrong.end] == "[bark/NOUN]"
    assert wrong.wrong
