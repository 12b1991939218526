"""Hidden words: whole ones, the same ones for any padding, and what a model says of blanks."""

import pandas as pd
import pytest
import torch
from torch import nn

from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.records import table
from stoker.datasets.tokens.kinds import FITTED
from stoker.datasets.tokens.tokenizer import MASK, SPECIAL
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.signature import CHOSEN, BlanksOutput
from stoker.job.training import Training
from stoker.randomness import Noise
from stoker.tasks.reading.blanks import NOT_HIDDEN, Blanks
from stoker.tasks.reading.fill_mask import FillMask

TEXTS = ["the cat sat on the mat", "unbelievable results", "a", "the unhappy cat believes the results on the mat"]
LENGTH = 32


def task(tokens: str) -> FillMask:
    fitted = FITTED[tokens].fit(TEXTS * 3, 60 if tokens == "wordpiece" else 280)  # type: ignore[index]
    field = TextField("text", tokens, fitted.asset(), LENGTH)  # type: ignore[arg-type]
    return FillMask(Fields((field,), None, BlanksOutput(fitted.size, LENGTH)))


def batch_of(given: FillMask, width: int, rows):
    numbers = [given.fields.text.tokenizer.encode([text])[0].tolist() for text in TEXTS]
    return rows({"text": torch.tensor([each + [0] * (width - len(each)) for each in numbers])})


def objective_of(given: FillMask) -> Blanks:
    made = given.objective(Even(given.fields.text.tokenizer.size), Training())
    assert isinstance(made, Blanks)
    return made


def noise(seed: int = 0) -> Noise:
    return Noise((seed, "t"), len(TEXTS), 0, len(TEXTS), torch.device("cpu"))


class Even(nn.Module):
    """Expects token 7 a little more than all others."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(vocabulary))
        with torch.no_grad():
            self.weight[7] = 1.0

    def forward(self, inputs):
        return self.weight.expand(int(inputs[CHOSEN].sum()), -1)


@pytest.mark.parametrize("tokens", ["words", "bpe", "wordpiece"])
def test_whole_words_are_hidden_at_least_one_of_a_text(tokens, rows):
    given = task(tokens)
    objective, batch = objective_of(given), batch_of(given, LENGTH, rows)
    words = objective._words(batch.inputs["text"])
    assert (words.amax(dim=1) + 1).tolist() == [6, 2, 1, 9]
    for seed in range(20):
        _, chosen = objective.hide(batch.inputs["text"], noise(seed))
        hidden = [set(row[there].tolist()) for row, there in zip(words, chosen, strict=True)]
        assert [len(each) for each in hidden] == [1, 1, 1, 1]
        for row, there, wanted in zip(words, chosen, hidden, strict=True):
            assert all(bool(place) == (word in wanted) for word, place in zip(row.tolist(), there, strict=True))
    assert objective.counts(batch, "network")["loss"] == 4


def test_what_is_hidden_depends_neither_on_padding_nor_on_how_a_batch_is_cut(rows):
    given = task("bpe")
    objective = objective_of(given)
    widths = [batch_of(given, width, rows).inputs["text"] for width in (LENGTH, 24)]
    (wide, chosen), (narrow, fewer) = (objective.hide(tokens, noise()) for tokens in widths)
    assert torch.equal(wide[:, :24], narrow)
    assert torch.equal(chosen[:, :24], fewer)
    cut = [Noise((0, "t"), 4, a, b, torch.device("cpu")) for a, b in ((0, 1), (1, 4))]
    parts = [objective.hide(widths[0][:1], cut[0]), objective.hide(widths[0][1:], cut[1])]
    assert torch.equal(torch.cat([part[0] for part in parts]), wide)


def test_most_hidden_words_are_masked_some_replaced_and_some_left(rows):
    given = task("words")
    objective = objective_of(given)
    text = torch.randint(SPECIAL, given.fields.text.tokenizer.size, (4, LENGTH))
    masked = replaced = left = 0
    for seed in range(200):
        hidden, chosen = objective.hide(text, noise(seed))
        assert torch.equal(hidden[~chosen], text[~chosen])
        assert chosen.sum(dim=1).tolist() == [5, 5, 5, 5]  # 15 % of 32
        masked += int((hidden[chosen] == MASK).sum())
        left += int((hidden[chosen] == text[chosen]).sum())
        replaced += int(((hidden != text) & (hidden != MASK) & chosen).sum())
    total = masked + replaced + left
    assert masked / total == pytest.approx(0.8, abs=0.03)
    assert 0.05 < replaced / total < 0.12
    assert 0.08 < left / total < 0.15


def test_texts_are_shown_with_their_guesses(rows):
    given = task("words")
    page = given.show(Even(given.fields.text.tokenizer.size), batch_of(given, 9, rows), 0)
    guess = given.fields.text.tokenizer.decode([7])
    assert page.name == "filled"
    assert len(page.texts) == 4
    assert page.texts[2] == f"[a: {guess}]"
    assert all(f": {guess}]" in text or f"[{guess}]" in text for text in page.texts)


def test_a_blank_is_filled_with_the_likeliest_words():
    given = task("words")
    records = table(pd.DataFrame({"text": ["the [MASK] sat on the [MASK]", "[MASK]"]}))
    samples = given.fields.encode(records, target=False)
    tokens = samples.inputs["text"].take(torch.arange(2))
    assert (tokens == MASK).sum(dim=1).tolist() == [2, 1]
    outputs = given.outputs(Even(given.fields.text.tokenizer.size), {"text": tokens}, noise())
    found = given.answers(outputs, records).table
    guess = given.fields.text.tokenizer.decode([7])
    assert found["prediction"].tolist() == [f"{guess} {guess}", guess]
    assert found["candidates"][1].startswith(f"{guess} 0.")
    assert found["candidates"][1].count(",") == 4
    with pytest.raises(JobError, match=r"row 2: the text has no \[MASK\] to fill"):
        given.fields.encode(table(pd.DataFrame({"text": ["a [MASK]", "a"]})), target=False)


@pytest.fixture
def of_a_model(tiny_model) -> FillMask:
    settings = Dataset.model_validate({"source": "a.csv", "text": {"tokenizer": str(tiny_model("mlm")), "length": 12}})
    field = TextField.fit("text", pd.Series([], dtype=object), settings)
    return FillMask(Fields((field,), None, BlanksOutput(field.tokenizer.size, field.length, field.tokenizer.mask)))


def test_what_a_model_has_around_a_text_is_never_hidden(of_a_model, rows):
    texts = ["the film was good", "films", "", "the cast, the [UNK]"]
    samples = of_a_model.fields.encode(table(pd.DataFrame({"text": texts})), target=True)
    tokens = samples.inputs["text"].take(torch.arange(4))
    objective = objective_of(of_a_model)
    around = torch.isin(tokens, torch.tensor([SPECIAL + 2, SPECIAL + 3]))  # [CLS] and [SEP]
    assert around.sum(dim=1).tolist() == [2, 2, 2, 2]
    words = objective._words(tokens)
    assert (words[around] == -1).all()
    assert (words.amax(dim=1) + 1).tolist() == [4, 1, 0, 3]  # films are several tokens, unknown ones are no words
    assert (words[1] == 0).sum() > 1
    masks = set()
    for seed in range(20):
        hidden, chosen = objective.hide(tokens, noise(seed))
        assert not (chosen & around).any()
        assert not chosen[2].any()
        masks |= set(hidden[0][chosen[0]].tolist())
    assert of_a_model.fields.text.tokenizer.mask in masks
    assert MASK not in masks


def test_a_blank_for_a_model_is_its_own_token(of_a_model):
    records = table(pd.DataFrame({"text": ["the [MASK] was [MASK]"]}))
    tokens = of_a_model.fields.encode(records, target=False).inputs["text"].take(torch.arange(1))
    tokenizer = of_a_model.fields.text.tokenizer
    assert tokens[0].tolist() == [
        SPECIAL + 2,
        *tokenizer.encode(["the"])[0],
        tokenizer.mask,
        *tokenizer.encode(["was"])[0],
        tokenizer.mask,
        SPECIAL + 3,
    ]
    outputs = of_a_model.outputs(Even(tokenizer.size), {"text": tokens}, noise())
    assert outputs.shape == (1, 2, 5, 2)
    assert tokenizer.token_bytes()[outputs[..., 0].long()].all()  # nothing but what could be written


def test_no_blank_is_left_before_a_hidden_word_where_tokens_begin_with_it():
    given = task("bpe")
    records = table(pd.DataFrame({"text": ["the [MASK] sat"]}))
    tokens = given.fields.encode(records, target=False).inputs["text"].take(torch.arange(1))[0].tolist()
    encode = given.fields.text.tokenizer.encode
    assert tokens == [*encode(["the"])[0].tolist(), MASK, *encode([" sat"])[0].tolist()]


def test_tokens_that_are_not_hidden_have_no_loss(rows):
    given = task("words")
    _, output = objective_of(given).evaluate(batch_of(given, 9, rows), noise())
    assert output is not None
    assert ((output[..., 0] == NOT_HIDDEN) == (output[..., 1] == 0)).all()
    assert (output[..., 0] != NOT_HIDDEN).sum(dim=1).tolist() == [1, 1, 1, 1]
