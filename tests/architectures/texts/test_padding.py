"""Networks for texts: padding has no effect."""

import pytest
import torch

from stoker.architectures.attention import rotary_turns, turned
from stoker.architectures.inputs import example_inputs
from stoker.architectures.network import build_network, misfits
from stoker.job.architecture.mlp import Mlp
from stoker.job.architecture.rnn import Rnn
from stoker.job.architecture.transformer import Transformer
from stoker.job.signature import ClassOutput, NumbersInput, Signature, TextInput

TEXT = Signature({"text": TextInput(30, 12)}, ClassOutput(("a", "b", "c")))
NETWORKS = [
    Rnn(family="rnn", embedding=6, hidden=5),
    Rnn(family="rnn", embedding=6, hidden=5, cell="gru", layers=2),
    Rnn(family="rnn", embedding=6, hidden=5, cell="vanilla", bidirectional=False),
    Mlp(family="mlp", hidden=(8,)),
    Transformer(family="transformer", width=8, heads=2),
    Transformer(family="transformer", width=12, heads=4, key_heads=2, positions="learned", feedforward=10),
]
every_network = pytest.mark.parametrize("architecture", NETWORKS, ids=lambda each: each.family)


def padded(texts: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([text + [0] * (width - len(text)) for text in texts])


@every_network
def test_a_texts_output_depends_neither_on_padding_nor_on_its_neighbours(architecture):
    network = build_network(architecture, TEXT).eval()
    texts = [[5, 3, 7, 2], [4], [9, 9, 1, 28, 29, 2, 3], [6, 5]]
    alone = torch.cat([network({"text": torch.tensor([text])}) for text in texts])
    for width in (7, 12):
        torch.testing.assert_close(network({"text": padded(texts, width)}), alone, atol=1e-6, rtol=1e-5)
    assert alone.std(dim=0).min() > 0


@every_network
def test_padding_has_no_gradient(architecture):
    gradients = []
    for width in (4, 9):
        torch.manual_seed(0)
        network = build_network(architecture, TEXT).eval()
        network({"text": padded([[5, 3, 7, 2], [4]], width)}).square().sum().backward()
        gradients.append({name: value.grad.clone() for name, value in network.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5)
        if "embedding" in name:
            assert not gradient[0].any()


@every_network
def test_a_batch_without_texts_has_gradients_of_zero(architecture):
    network = build_network(architecture, TEXT)
    output = network({"text": torch.zeros(0, 1, dtype=torch.int64)})
    assert output.shape == (0, 3)
    output.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in network.parameters())


@every_network
def test_a_text_of_only_padding_has_a_finite_output(architecture):
    network = build_network(architecture, TEXT).eval()
    assert torch.isfinite(network({"text": torch.zeros(2, 3, dtype=torch.int64)})).all()


def test_an_mlp_accepts_a_text_with_numbers_and_an_rnn_does_not():
    mixed = Signature({"numbers": NumbersInput(2), "text": TextInput(30, 12)}, ClassOutput(("a", "b")))
    assert build_network(NETWORKS[3], mixed)(example_inputs(mixed, 3, "cpu")).shape == (3, 2)
    assert misfits(NETWORKS[3], mixed) == []
    assert [problem.path for problem in misfits(NETWORKS[0], mixed)] == ["architecture.family"]
    assert misfits(NETWORKS[0], TEXT) == []


def test_a_transformer_takes_one_text_and_heads_that_divide_its_width():
    mixed = Signature({"numbers": NumbersInput(2), "text": TextInput(30, 12)}, ClassOutput(("a", "b")))
    odd = Transformer(family="transformer", width=30, heads=4, key_heads=3)
    assert [problem.path for problem in misfits(odd, mixed)] == [
        "architecture.family",
        "architecture.width",
        "architecture.key_heads",
    ]
    assert misfits(odd, TEXT)[0].message == "30 cannot be divided by 4 heads; use 28"
    assert misfits(NETWORKS[4], TEXT) == []


@pytest.mark.parametrize("architecture", NETWORKS[4:], ids=lambda each: each.positions)
def test_a_transformer_tells_the_order_of_words(architecture):
    torch.manual_seed(0)
    network = build_network(architecture, TEXT).eval()
    if network.places is not None:
        torch.nn.init.normal_(network.places)
    for parameter in network.blocks.parameters():  # attention is nearly even at first
        torch.nn.init.normal_(parameter)
    there, back = (network({"text": torch.tensor([text])}) for text in ([5, 3, 7, 2], [2, 7, 3, 5]))
    assert (there - back).abs().max() > 1e-4


def test_rotary_attention_depends_on_distances_alone():
    torch.manual_seed(0)
    query, key = torch.randn(1, 2, 6, 8), torch.randn(1, 2, 6, 8)
    scores = [
        turned(query, turns) @ turned(key, turns).transpose(2, 3)
        for turns in (rotary_turns(torch.arange(6) + start, 8) for start in (0, 50))
    ]
    torch.testing.assert_close(scores[0], scores[1], atol=1e-4, rtol=1e-4)
    assert torch.equal(turned(query, rotary_turns(torch.arange(6), 8))[:, :, 0], query[:, :, 0])


def test_words_are_left_out_only_while_training():
    torch.manual_seed(0)
    settings = Transformer(family="transformer", width=8, heads=2, dropout=0.0, word_dropout=0.5)
    network, text = build_network(settings, TEXT), {"text": torch.tensor([[5, 3, 7, 2, 9, 4]])}
    outputs = {network(text)[0, 0].item() for _ in range(20)}
    assert len(outputs) > 5
    network.eval()
    assert len({network(text)[0, 0].item() for _ in range(5)}) == 1
