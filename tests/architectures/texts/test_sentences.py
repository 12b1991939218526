"""Networks that tag the words of sentences: a word's tag depends on its own sentence alone."""

import pytest
import torch

from stoker.architectures.inputs import example_inputs
from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.architectures.texts.words import with_unknown
from stoker.datasets.tokens.tokenizer import UNKNOWN
from stoker.job.architecture.rnn import Rnn
from stoker.job.architecture.transformer import Transformer
from stoker.job.signature import ClassOutput, NumbersInput, Signature, TextInput, WordsInput, WordTagsOutput

TAGGING = Signature({"words": WordsInput(30, 20, 12, 5)}, WordTagsOutput(("O", "B-X", "I-X"), ("X",)))
NETWORKS = [
    Rnn(family="rnn", embedding=6, hidden=5),
    Rnn(family="rnn", embedding=7, hidden=5, cell="gru", layers=2),
    Rnn(family="rnn", embedding=6, hidden=5, cell="vanilla", bidirectional=False),
    Transformer(family="transformer", width=8, heads=2),
    Transformer(family="transformer", width=12, heads=4, positions="learned"),
]
every_network = pytest.mark.parametrize("architecture", NETWORKS, ids=lambda each: each.family)


def sentence(*words: int) -> torch.Tensor:
    """Return words with two to four characters each."""
    rows = [[word, *[1 + (word + place) % 19 for place in range(2 + word % 3)]] for word in words]
    return torch.tensor([row + [0] * (6 - len(row)) for row in rows])


SENTENCES = [sentence(5, 3, 7, 2), sentence(4), sentence(9, 9, 1, 28, 29, 2, 3), sentence(6, 5)]


def padded(sentences: list[torch.Tensor], width: int) -> torch.Tensor:
    return torch.stack([torch.cat([each, each.new_zeros(width - len(each), 6)]) for each in sentences])


@every_network
def test_a_tag_depends_neither_on_padding_nor_on_other_sentences(architecture):
    network = build_network(architecture, TAGGING).eval()
    alone = [network({"words": each.unsqueeze(0)})[0] for each in SENTENCES]
    for width in (7, 12):
        together = network({"words": padded(SENTENCES, width)})
        assert together.shape == (4, width, 3)
        for each, found in zip(alone, together, strict=True):
            torch.testing.assert_close(found[: len(each)], each, atol=1e-6, rtol=1e-5)
    assert torch.cat(alone).std(dim=0).min() > 0


@every_network
def test_padding_has_no_gradient(architecture):
    gradients = []
    for width in (4, 9):
        torch.manual_seed(0)
        network = build_network(architecture, TAGGING).eval()
        output = network({"words": padded([SENTENCES[0], SENTENCES[1]], width)})
        (output[0, :4].square().sum() + output[1, :1].square().sum()).backward()
        gradients.append({name: value.grad.clone() for name, value in network.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5)
    for embedding in ("embedding.words.weight", "embedding.characters.weight"):
        assert gradients[0][embedding][1:].any()
        assert not gradients[0][embedding][0].any()


@every_network
def test_a_batch_without_sentences_has_gradients_of_zero(architecture):
    network = build_network(architecture, TAGGING)
    output = network({"words": torch.zeros(0, 1, 6, dtype=torch.int64)})
    assert output.shape == (0, 1, 3)
    output.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in network.parameters())


@every_network
def test_a_sentence_without_words_and_a_word_without_characters_have_finite_tags(architecture):
    network = build_network(architecture, TAGGING).eval()
    nothing = torch.zeros(2, 3, 6, dtype=torch.int64)
    nothing[1, 0, 0] = UNKNOWN
    assert torch.isfinite(network({"words": nothing})).all()


@every_network
def test_unknown_words_are_told_apart_by_their_characters(architecture):
    network = build_network(architecture, TAGGING).eval()
    one, other = sentence(5, 6), sentence(5, 6)
    one[0, 0] = other[0, 0] = UNKNOWN
    other[0, 1] = 17
    outputs = network({"words": torch.stack([one, other])})
    assert (outputs[0, 0] - outputs[1, 0]).abs().max() > 1e-5


def test_words_are_unknown_at_random_but_keep_their_characters():
    torch.manual_seed(0)
    sentences = padded(SENTENCES, 8)
    changed = with_unknown(sentences, 0.5)
    assert torch.equal(changed[..., 1:], sentences[..., 1:])
    there = sentences[..., 0] != 0
    assert torch.equal(changed[..., 0] != 0, there)
    dropped = changed[..., 0][there] == UNKNOWN
    assert 0.2 < dropped.float().mean() < 0.8
    assert torch.equal(changed[..., 0][there][~dropped], sentences[..., 0][there][~dropped])
    assert torch.equal(with_unknown(sentences[..., 0], 0.5) != 0, there)


@pytest.mark.parametrize("family", ["rnn", "transformer"])
def test_words_are_left_out_only_while_training(family: str):
    torch.manual_seed(0)
    settings = {"rnn": Rnn(family="rnn", dropout=0.0), "transformer": Transformer(family="transformer", dropout=0.0)}
    network = build_network(settings[family].model_copy(update={"word_dropout": 0.5}), TAGGING)
    given = {"words": SENTENCES[2].unsqueeze(0)}
    assert len({network(given)[0, -1, 0].item() for _ in range(20)}) > 5
    network.eval()
    assert len({network(given)[0, -1, 0].item() for _ in range(5)}) == 1


def test_defaults_depend_on_whether_words_are_tagged():
    text = Signature({"text": TextInput(30, 12)}, ClassOutput(("a", "b")))
    for settings, kept in ((Rnn(family="rnn"), 0.0), (Transformer(family="transformer"), 0.0)):
        assert with_default_sizes(settings, TAGGING, 100).word_dropout == 0.5
        assert with_default_sizes(settings, text, 100).word_dropout == kept
        chosen = settings.model_copy(update={"word_dropout": 0.1})
        assert with_default_sizes(chosen, TAGGING, 100).word_dropout == 0.1


def test_a_sample_is_one_sentence():
    mixed = Signature({"numbers": NumbersInput(2), "words": WordsInput(30, 20, 12, 5)}, TAGGING.output)
    for architecture in NETWORKS:
        assert misfits(architecture, TAGGING) == []
        assert [problem.path for problem in misfits(architecture, mixed)] == ["architecture.family"]
        assert build_network(architecture, TAGGING)(example_inputs(TAGGING, 2, "cpu")).shape == (2, 12, 3)
