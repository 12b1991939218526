"""Networks that write a text from another one: what they write does not depend on padding, neighbours or a memory."""

import pytest
import torch

from stoker.architectures.inputs import example_inputs
from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.architectures.search_settings import DEFAULTS
from stoker.job.architecture.rnn import Rnn
from stoker.job.architecture.transformer import Transformer
from stoker.job.signature import WRITTEN, ClassOutput, NumbersInput, Signature, TextInput, TextOutput
from stoker.tasks.abilities import can_align, can_write

PAIRS = Signature({"text": TextInput(30, 12)}, TextOutput(30, 9, 7))
NETWORKS = {
    "transformer": Transformer(family="transformer", width=8, heads=2),
    "learned": Transformer(family="transformer", width=12, heads=4, key_heads=2, positions="learned", feedforward=10),
    "lstm": Rnn(family="rnn", embedding=6, hidden=5, bidirectional=True),
    "gru": Rnn(family="rnn", embedding=6, hidden=5, cell="gru", layers=2, bidirectional=False),
    "vanilla": Rnn(family="rnn", embedding=6, hidden=5, cell="vanilla", bidirectional=True, layers=2),
}
every_network = pytest.mark.parametrize("name", NETWORKS)
SOURCES = [[5, 13, 7, 12], [4], [9, 9, 11, 28, 29, 12, 23], [6, 5]]
TEXTS = [[2, 8, 6], [2, 9, 9, 4, 5], [2], [2, 17]]


def padded(texts: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([text + [0] * (width - len(text)) for text in texts])


def built(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    network = build_network(NETWORKS[name], PAIRS).eval()
    for parameter in network.parameters():  # initial attention is nearly even
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    return network


@every_network
def test_the_output_has_the_shape_of_the_signature(name):
    output = built(name)(example_inputs(PAIRS, 3, "cpu"))
    assert output.shape == (3, 7, 30)
    assert torch.isfinite(output).all()


@every_network
def test_a_text_depends_neither_on_padding_nor_on_its_neighbours(name):
    network = built(name)
    alone = [
        network({"text": torch.tensor([source]), WRITTEN: torch.tensor([text])})[0]
        for source, text in zip(SOURCES, TEXTS, strict=True)
    ]
    for wide, longer in ((7, 5), (12, 9)):
        together = network({"text": padded(SOURCES, wide), WRITTEN: padded(TEXTS, longer)})
        for row, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(row[: len(expected)], expected, atol=1e-5, rtol=1e-4)
    assert (alone[0][0] - alone[3][0]).abs().max() > 1e-3, "the source matters"


@every_network
def test_a_token_is_expected_from_those_before_it_alone(name):
    network = built(name)
    one, other = (
        network({"text": padded(SOURCES[:1], 4), WRITTEN: torch.tensor([[2, 8, 6, last]])}) for last in (4, 9)
    )
    torch.testing.assert_close(one[:, :3], other[:, :3])
    assert (one[:, 3] - other[:, 3]).abs().max() > 1e-4


@every_network
def test_writing_token_by_token_is_the_same_as_at_once(name):
    network = built(name)
    assert can_write(network)
    texts = torch.tensor([[2, 8, 6, 4, 5], [2, 9, 9, 4, 5], [2, 7, 7, 7, 7], [2, 17, 5, 6, 8]])
    inputs = {"text": padded(SOURCES, 7)}
    whole = network({**inputs, WRITTEN: texts})
    memory = network.begin(inputs)
    rows = torch.arange(4)
    for place, choice in enumerate(([0, 1, 2, 3], [3, 3, 0, 1], [0, 2], [1, 1, 0], [2, 0])):
        memory.choose(torch.tensor(choice))
        rows = rows[torch.tensor(choice)]
        logits, memory = network.write(texts[rows, place], memory)
        torch.testing.assert_close(logits, whole[rows, place], atol=1e-5, rtol=1e-4)


@every_network
def test_padding_of_the_source_has_no_gradient(name):
    gradients = []
    for width in (7, 11):
        network = built(name)
        output = network({"text": padded(SOURCES, width), WRITTEN: padded(TEXTS, 5)})
        there = padded(TEXTS, 5) != 0
        (output.square().sum(dim=2) * there).sum().backward()
        gradients.append({key: value.grad.clone() for key, value in network.named_parameters()})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, atol=1e-4, rtol=1e-4)


@every_network
def test_a_batch_without_texts_has_gradients_of_zero(name):
    network = built(name)
    nothing = torch.zeros(0, 1, dtype=torch.int64)
    output = network({"text": nothing, WRITTEN: nothing})
    assert output.shape == (0, 1, 30)
    output.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in network.parameters())
    logits, _ = network.write(torch.zeros(0, dtype=torch.int64), network.begin({"text": nothing}))
    assert logits.shape == (0, 30)


@every_network
def test_a_source_of_only_padding_has_a_finite_output(name):
    output = built(name)({"text": torch.zeros(2, 3, dtype=torch.int64), WRITTEN: torch.full((2, 2), 2)})
    assert torch.isfinite(output).all()


@every_network
def test_an_alignment_is_a_share_of_the_source(name):
    network = built(name)
    assert can_align(network)
    weights = network.align({"text": padded(SOURCES, 8), WRITTEN: padded(TEXTS, 5)})
    assert weights.shape == (4, 5, 8)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(4, 5))
    assert not weights[1, :, 1:].any()


@pytest.mark.parametrize("family", [Rnn, Transformer])
def test_how_texts_are_searched_for_is_filled_in_where_texts_are_written(family):
    name = family.__name__.lower()
    settings = with_default_sizes(family(family=name, no_repeat=3), PAIRS, 100)
    assert (settings.beam, settings.length_penalty, settings.no_repeat) == (4, 1.0, 3)
    assert misfits(settings, PAIRS) == []
    network = build_network(settings, PAIRS)
    assert (network.beam, network.length_penalty, network.no_repeat) == (4, 1.0, 3)
    classes = Signature(PAIRS.inputs, ClassOutput(("a", "b")))
    assert with_default_sizes(family(family=name), classes, 100).beam is None
    assert [problem.path for problem in misfits(settings, classes)] == [f"architecture.{key}" for key in DEFAULTS]
    assert "does nothing for this task" in misfits(settings, classes)[0].message


def test_source_written_tokens_and_output_share_one_embedding():
    for name in NETWORKS:
        shapes = [tuple(parameter.shape) for parameter in built(name).parameters()]
        assert sum(shape[0] == 30 and len(shape) == 2 for shape in shapes) == 1


def test_only_one_text_is_read():
    mixed = Signature({"numbers": NumbersInput(2), "text": TextInput(30, 12)}, PAIRS.output)
    assert [problem.path for problem in misfits(NETWORKS["lstm"], mixed)] == ["architecture.family"]
