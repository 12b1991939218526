"""Networks that mark the part of a text that answers a question."""

from typing import Any

import pytest
import torch

from stoker.architectures.network import build_network, with_default_sizes
from stoker.job.architecture.pretrained import Pretrained
from stoker.job.architecture.rnn import Rnn
from stoker.job.architecture.transformer import Transformer
from stoker.job.signature import CONTEXT, PAIR, QUESTION, PairInput, Signature, SpanOutput


@pytest.fixture(params=["transformer", "rnn", "gru", "pretrained"])
def network(request, tiny_model) -> Any:
    signature = Signature({PAIR: PairInput(12, 10)}, SpanOutput(3, optional=False))
    settings: Any = {
        "transformer": lambda: Transformer(family="transformer", width=8, heads=2),
        "rnn": lambda: Rnn(family="rnn", embedding=6, hidden=5),
        "gru": lambda: Rnn(family="rnn", cell="gru", embedding=6, hidden=5),
        "pretrained": lambda: Pretrained(family="pretrained", model=str(tiny_model("bert"))),
    }[request.param]()
    torch.manual_seed(0)
    return build_network(with_default_sizes(settings, signature, 100), signature).eval()


def pairs(rows: int, length: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    made = torch.zeros(rows, length, 4, dtype=torch.int64)
    made[..., 0] = torch.randint(4, 12, (rows, length), generator=rng)
    made[:, :3, 1], made[:, 3:, 1] = QUESTION, CONTEXT
    return made


@torch.no_grad()
def test_each_token_has_two_logits_that_depend_neither_on_padding_nor_on_neighbours(network):
    given = pairs(3, 8)
    given[1, 5:] = 0
    together = network({PAIR: given})
    assert together.shape == (3, 8, 2)
    alone = network({PAIR: given[1:2, :5]})
    torch.testing.assert_close(together[1:2, :5], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_segment_of_a_token_changes_what_is_found(network):
    given = pairs(1, 8)
    before = network({PAIR: given})
    given[0, 3:5, 1] = QUESTION
    assert not torch.allclose(network({PAIR: given}), before, atol=1e-4)


@torch.no_grad()
def test_the_places_of_tokens_in_the_text_change_nothing(network):
    given = pairs(2, 8)
    before = network({PAIR: given})
    given[..., 2:] = 7
    torch.testing.assert_close(network({PAIR: given}), before)


def test_a_batch_without_samples_has_no_output_and_zero_gradients(network):
    network.train()
    found = network({PAIR: pairs(0, 1)})
    assert found.shape == (0, 1, 2)
    found.sum().backward()
    assert all(each.grad is None or not each.grad.any() for each in network.parameters())
