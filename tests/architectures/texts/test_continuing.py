"""Networks that continue texts: they see nothing of what follows, and remember what they have read."""

import pytest
import torch

from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.datasets.tokens.tokenizer import END
from stoker.job.architecture.rnn import Rnn
from stoker.job.architecture.transformer import Transformer
from stoker.job.signature import ClassOutput, ContinuationOutput, Signature, TextInput

LENGTH, VOCABULARY = 12, 30


def text_signature(borders: bool = False) -> Signature:
    return Signature({"text": TextInput(VOCABULARY, LENGTH)}, ContinuationOutput(VOCABULARY, borders))


NETWORKS = [
    Transformer(family="transformer", width=8, heads=2),
    Transformer(family="transformer", width=12, heads=4, key_heads=2, positions="learned", feedforward=10),
    Rnn(family="rnn", embedding=6, hidden=5, layers=2),
    Rnn(family="rnn", embedding=6, hidden=5, cell="gru"),
    Rnn(family="rnn", embedding=6, hidden=5, cell="vanilla"),
]
every_network = pytest.mark.parametrize("architecture", NETWORKS, ids=lambda each: each.family)
decoders = pytest.mark.parametrize("architecture", NETWORKS[:2], ids=lambda each: each.positions)


def built(architecture, borders=False):
    torch.manual_seed(0)
    network = build_network(architecture, text_signature(borders)).eval()
    for parameter in network.parameters():  # attention is nearly even at first
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def some_text(rows: int, length: int) -> torch.Tensor:
    return torch.randint(4, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


@every_network
def test_what_follows_is_not_seen(architecture):
    network, text = built(architecture), some_text(3, LENGTH)
    changed = text.clone()
    changed[:, 7:] = (changed[:, 7:] - 4 + 11) % 20 + 4
    one, other = network({"text": text}), network({"text": changed})
    assert one.shape == (3, LENGTH, VOCABULARY)
    torch.testing.assert_close(one[:, :7], other[:, :7])
    assert (one[:, 7:] - other[:, 7:]).abs().amax(dim=2).min() > 1e-4


@every_network
@pytest.mark.parametrize("cuts", [[1] * LENGTH, [5, 1, 1, 5], [LENGTH]])
def test_a_text_may_be_read_in_pieces(architecture, cuts):
    network, text = built(architecture), some_text(2, LENGTH)
    memory, found = network.begin(2), []
    for piece in text.split(cuts, dim=1):
        logits, memory = network.read(piece, memory)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, dim=1), network({"text": text}), atol=1e-5, rtol=1e-4)


@decoders
def test_a_full_memory_goes_on_with_its_second_half(architecture):
    network, text = built(architecture), some_text(2, LENGTH + 1)
    memory = network.begin(2)
    for token in text.split(1, dim=1):
        logits, memory = network.read(token, memory)
    expected = network({"text": text[:, -(LENGTH // 2) :]})
    torch.testing.assert_close(logits[:, -1], expected[:, -1], atol=1e-5, rtol=1e-4)
    assert memory.tokens.shape == (2, LENGTH // 2)


@decoders
def test_a_text_does_not_see_the_one_before_it_in_a_sample(architecture):
    network, text = built(architecture, borders=True), some_text(1, LENGTH)
    text[0, 5] = END
    other = text.clone()
    other[0, :5] = (other[0, :5] - 4 + 9) % 20 + 4
    one, changed = network({"text": text}), network({"text": other})
    torch.testing.assert_close(one[:, 5:], changed[:, 5:])
    assert (one[:, :5] - changed[:, :5]).abs().max() > 1e-4
    if network.places is None:  # rotary positions count from the token's own text
        alone = network({"text": text[:, 5:]})
        torch.testing.assert_close(one[:, 5:], alone, atol=1e-5, rtol=1e-4)
    open_borders = built(architecture)
    assert (open_borders({"text": text})[:, 5:] - open_borders({"text": other})[:, 5:]).abs().max() > 1e-4


def test_a_decoder_writes_with_the_embeddings_that_it_reads_with():
    network = built(NETWORKS[0])
    names = {name for name, _ in network.named_parameters()}
    assert not any(name.startswith("output") for name in names)
    assert network.embedding.weight.shape == (VOCABULARY, 8)


@every_network
def test_a_batch_without_texts_has_gradients_of_zero(architecture):
    network = build_network(architecture, text_signature())
    output = network({"text": torch.zeros(0, LENGTH, dtype=torch.int64)})
    assert output.shape == (0, LENGTH, VOCABULARY)
    output.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in network.parameters())


def test_an_rnn_reads_from_both_ends_only_where_the_end_is_known():
    settings = Rnn(family="rnn")
    classes = Signature({"text": TextInput(VOCABULARY, LENGTH)}, ClassOutput(("a", "b")))
    assert with_default_sizes(settings, classes, 100).bidirectional is True
    assert with_default_sizes(settings, text_signature(), 100).bidirectional is False
    (problem,) = misfits(settings.model_copy(update={"bidirectional": True}), text_signature())
    assert problem.path == "architecture.bidirectional"
    assert misfits(settings, text_signature()) == []
