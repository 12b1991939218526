"""Networks for texts: padding has no effect."""

import pytest
import torch

from stoker.architectures.inputs import example_inputs
from stoker.architectures.network import build_network, misfits
from stoker.job.architecture.mlp import Mlp
from stoker.job.architecture.rnn import Rnn
from stoker.job.signature import ClassOutput, NumbersInput, Signature, TextInput

TEXT = Signature({"text": TextInput(30, 12)}, ClassOutput(("a", "b", "c")))
NETWORKS = [
    Rnn(family="rnn", embedding=6, hidden=5),
    Rnn(family="rnn", embedding=6, hidden=5, cell="gru", layers=2),
    Rnn(family="rnn", embedding=6, hidden=5, cell="vanilla", bidirectional=False),
    Mlp(family="mlp", hidden=(8,)),
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
