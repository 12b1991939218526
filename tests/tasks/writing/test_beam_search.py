"""Texts are searched for as by trying all of them, and no text depends on others of its batch."""

import itertools
import math

import pytest
import torch
from torch import nn

from stoker.datasets.tokens.tokenizer import END, PADDING
from stoker.tasks.writing.beam_search import Search, searched

TOKENS = 7
"""Of which 4, 5 and 6 are written, and END."""


class Chances(nn.Module):
    """What follows depends on the source, on the token before and on the place, at random."""

    def __init__(self, seed: int, places: int = 5) -> None:
        super().__init__()
        made = torch.randn(9, places, TOKENS, TOKENS, generator=torch.Generator().manual_seed(seed))
        self.logits = nn.Parameter(2 * made)

    def forward(self, inputs):
        written = inputs["written"]
        places = torch.arange(written.shape[1]).expand_as(written)
        return self.logits[inputs["source"][:, :1], places, written]


class Remembering(Chances):
    """The same, with a memory."""

    def begin(self, inputs):
        return Memory(inputs["source"][:, 0], 0)

    def write(self, tokens, memory):
        logits = self.logits[memory.source, memory.place, tokens]
        return logits, Memory(memory.source, memory.place + 1)


class Memory:
    def __init__(self, source, place):
        self.source, self.place = source, place

    def choose(self, rows):
        self.source = self.source[rows]


def sources(*numbers: int) -> dict[str, torch.Tensor]:
    return {"source": torch.tensor(numbers).unsqueeze(1)}


def likelihood(network: nn.Module, source: int, text: tuple[int, ...]) -> float:
    """Return the log-probability of a text among the tokens that may be written."""
    written = torch.tensor([[END, *text[:-1]]])
    logits = network({**sources(source), "written": written})[0].detach().clone()
    logits[:, [0, 1, 3]] = float("-inf")
    return float(logits.log_softmax(dim=1)[torch.arange(len(text)), torch.tensor(text)].sum())


def best_of_all(network: nn.Module, source: int, longest: int, penalty: float) -> list[int]:
    texts = [
        (*text, END) for length in range(longest) for text in itertools.product((4, 5, 6), repeat=length)
    ]  # fmt: skip
    return list(max(texts, key=lambda text: likelihood(network, source, text) / len(text) ** penalty))


def until_end(row: torch.Tensor) -> list[int]:
    return [number for number in row.tolist() if number != PADDING]


@pytest.mark.parametrize("made", [Chances, Remembering])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_a_wide_search_finds_the_likeliest_of_all_texts(made, penalty):
    for seed in range(5):
        network = made(seed).eval()
        found = searched(network, sources(0, 1, 2), 4, Search(81, penalty))
        for row, source in zip(found, (0, 1, 2), strict=True):
            assert until_end(row) == best_of_all(network, source, 4, penalty)


@pytest.mark.parametrize("made", [Chances, Remembering])
def test_one_beam_takes_the_likeliest_token_each_time(made):
    network = made(0).eval()
    found = searched(network, sources(*range(9)), 5, Search())
    for source in range(9):
        text = [END]
        while len(text) < 6 and (text[-1] != END or len(text) == 1):
            logits = network({**sources(source), "written": torch.tensor([text])})[0, -1].detach().clone()
            logits[[0, 1, 3]] = float("-inf")
            text.append(int(logits.argmax()))
        assert until_end(found[source]) == text[1:]


@pytest.mark.parametrize("search", [Search(), Search(3), Search(4, 0.5, 2)])
def test_a_text_depends_neither_on_its_neighbours_nor_on_when_they_end(search):
    network = Remembering(3).eval()
    together = searched(network, sources(*range(9)), 5, search)
    in_step = searched(network, sources(*range(9)), 5, search, in_step=True)
    assert torch.equal(in_step, together)
    assert len({len(until_end(row)) for row in together}) > 1, "they end at different times"
    for source in range(9):
        assert torch.equal(searched(network, sources(source), 5, search)[0], together[source])
    assert torch.equal(searched(Chances(3).eval(), sources(*range(9)), 5, search), together)


def test_special_tokens_are_not_written_and_a_text_without_an_end_is_taken_as_it_is():
    network = Remembering(0).eval()
    with torch.no_grad():
        network.logits[..., END] = -50.0
        network.logits[..., [0, 1, 3]] = 50.0
    for search in (Search(), Search(3)):
        found = searched(network, sources(0, 1), 5, search)
        assert ((found >= 4) & (found <= 6)).all()


def test_parts_of_a_text_do_not_repeat():
    network = Remembering(0, places=8).eval()
    with torch.no_grad():
        network.logits.zero_()
        network.logits[..., 4] = 3.0  # the same token for ever
        network.logits[..., END] = -5.0
    assert searched(network, sources(0), 8, Search())[0].tolist() == [4] * 8
    for parts, beam in itertools.product((1, 2, 3), (1, 3)):
        row = until_end(searched(network, sources(0), 8, Search(beam, 1.0, parts))[0])
        seen = (
            list(itertools.pairwise(row)) if parts == 2 else list(zip(*(row[i:] for i in range(parts)), strict=False))
        )
        assert len(seen) == len(set(seen))


def test_no_sources_give_no_texts():
    assert searched(Remembering(0).eval(), {"source": torch.zeros(0, 1, dtype=torch.int64)}, 5, Search(2)).shape == (
        0,
        5,
    )


def test_the_search_of_a_network_is_that_of_its_settings():
    network = Remembering(0)
    assert Search.of(network) == Search(1, 1.0, 0)
    network.beam, network.length_penalty, network.no_repeat = 5, 0.6, 3
    assert Search.of(network) == Search(5, 0.6, 3)
    assert Search.of(network).greedy == Search(1, 0.6, 3)
    assert math.isfinite(likelihood(network, 0, (4, END)))
