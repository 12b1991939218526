"""What transformers look at: the weights by which their attention averages, and none of them of padding."""

import pytest
import torch

from stoker.architectures.attention import attention, attention_weights
from stoker.architectures.network import build_network
from stoker.job.architecture.transformer import Transformer
from stoker.job.signature import (
    WRITTEN,
    BlanksOutput,
    ClassOutput,
    ContinuationOutput,
    Signature,
    TagsOutput,
    TextInput,
    TextOutput,
)
from stoker.tasks.abilities import can_align, can_attend

TEXT = {"text": TextInput(30, 12)}
READERS = {
    "classes": Signature(TEXT, ClassOutput(("a", "b"))),
    "tags": Signature(TEXT, TagsOutput(("a", "b"))),
    "blanks": Signature(TEXT, BlanksOutput(30, 12)),
}
WRITERS = {
    "one text": Signature(TEXT, ContinuationOutput(30, borders=False)),
    "several texts": Signature(TEXT, ContinuationOutput(30, borders=True)),
}
SHAPES = {
    "rotary": Transformer(family="transformer", width=8, heads=2, layers=2),
    "learned": Transformer(family="transformer", width=12, heads=4, key_heads=2, positions="learned", layers=2),
}
every_shape = pytest.mark.parametrize("shape", SHAPES)
SENTENCES = [[5, 13, 7, 12], [4], [9, 2, 11, 28, 29, 12, 23], [6, 5]]


def padded(texts: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([text + [0] * (width - len(text)) for text in texts])


def built(shape: str, signature: Signature) -> torch.nn.Module:
    torch.manual_seed(0)
    network = build_network(SHAPES[shape], signature).eval()
    for parameter in network.parameters():  # initial attention is nearly even
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return network


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_the_weights_are_those_that_attention_averages_values_by(causal, key_heads):
    torch.manual_seed(0)
    query, (key, value) = torch.randn(3, 4, 5, 6), torch.randn(2, 3, key_heads, 5, 6)
    seen = None if causal else torch.rand(3, 1, 1, 5) < 0.7
    if seen is not None:
        seen[..., 0] = True
    weights = attention_weights(query, key, seen, causal)
    expected = weights @ value.repeat_interleave(4 // key_heads, dim=1)
    torch.testing.assert_close(attention(query, key, value, seen, causal=causal), expected)


@every_shape
@pytest.mark.parametrize("name", READERS)
def test_rows_of_an_encoders_attention_sum_to_one_without_padding(shape, name):
    network = built(shape, READERS[name])
    assert can_attend(network)
    tokens = padded(SENTENCES, 9)
    weights = network.attend({"text": tokens} if name != "blanks" else {"text": tokens, "chosen": tokens == 5})
    assert weights.shape == (4, SHAPES[shape].heads, 9, 9)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(weights.shape[:3]))
    for row, sentence in enumerate(SENTENCES):
        assert not weights[row, :, :, len(sentence) :].any()
        alone = network.attend({"text": torch.tensor([sentence]), "chosen": torch.tensor([sentence]) == 5})
        torch.testing.assert_close(weights[row, :, : len(sentence), : len(sentence)], alone[0])


@every_shape
@pytest.mark.parametrize("name", WRITERS)
def test_a_decoder_looks_at_what_it_has_read_of_the_same_text(shape, name):
    network = built(shape, WRITERS[name])
    assert can_attend(network)
    tokens = torch.tensor([[9, 7, 2, 28, 29], [5, 6, 7, 8, 9]])
    weights = network.attend({"text": tokens})
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(weights.shape[:3]))
    assert not weights.triu(1).any()
    assert bool(weights[0, :, 3, :2].any()) == (name == "one text")  # the end of a text begins another one
    assert (weights[1] + torch.ones(5, 5).triu(1)).all()


@every_shape
def test_an_alignment_is_the_mean_of_the_heads(shape):
    network = built(shape, Signature(TEXT, TextOutput(30, 9, 7)))
    assert can_align(network)
    weights = network.align({"text": padded(SENTENCES, 8), WRITTEN: padded([[2, 8, 6], [2], [2, 9, 9, 4], [2]], 5)})
    assert weights.shape == (4, 5, 8)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(4, 5))
    for row, sentence in enumerate(SENTENCES):
        assert not weights[row, :, len(sentence) :].any()


def test_looking_leaves_nothing_behind_in_the_network():
    network = built("rotary", READERS["classes"])
    before = network({"text": padded(SENTENCES, 8)})
    network.attend({"text": padded(SENTENCES, 8)})
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert torch.equal(network({"text": padded(SENTENCES, 8)}), before)
