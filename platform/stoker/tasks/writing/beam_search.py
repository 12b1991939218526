"""Writes texts token by token: the likeliest ones of several that are tried side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from stoker.datasets.tokens.tokenizer import END, PADDING
from stoker.job.signature import WRITTEN
from stoker.tasks.abilities import CanWrite, can_write
from stoker.tasks.writing.sampling import NEVER_WRITTEN

NOTHING = float("-inf")


@dataclass(frozen=True)
class Search:
    """How texts are searched for; the defaults always take the likeliest token."""

    beam: int = 1
    """Texts that are tried side by side."""
    length_penalty: float = 1.0
    """The power of the length that divides the log-probability of a text."""
    no_repeat: int = 0
    """Tokens in a row that must not occur twice in a text; 0 forbids nothing."""

    @staticmethod
    def of(network: nn.Module) -> "Search":
        """Return the search of a network that has attributes of these names; a user's own may have none."""
        default = Search()
        return Search(
            int(getattr(network, "beam", default.beam)),
            float(getattr(network, "length_penalty", default.length_penalty)),
            int(getattr(network, "no_repeat", default.no_repeat)),
        )

    @property
    def greedy(self) -> "Search":
        """Return the same with a single text."""
        return replace(self, beam=1)


@dataclass
class _Running:
    """Texts that have not ended, of b sources with k texts each."""

    sources: Tensor
    """(b,) numbers of the sources."""
    scores: Tensor
    """(b, k) log-probabilities, the best first."""
    texts: Tensor
    """(b, k, n) tokens."""

    def rows(self, number: Tensor) -> "_Running":
        """Keep some sources."""
        return _Running(self.sources[number], self.scores[number], self.texts[number])


class _Finished:
    """The best text of each source that has ended, and how many have."""

    def __init__(self, sources: int, longest: int, device: torch.device) -> None:
        self.texts = torch.full((sources, longest), PADDING, dtype=torch.int64, device=device)
        self.scores = torch.full((sources,), NOTHING, device=device)
        self.count = torch.zeros(sources, dtype=torch.int64, device=device)

    def add(self, sources: Tensor, scores: Tensor, texts: Tensor) -> None:
        """Take in (b, k) scores of (b, k, n) texts, NOTHING for those that have not ended."""
        best, place = scores.max(dim=1)
        better = best > self.scores[sources]
        chosen = texts[torch.arange(len(texts), device=texts.device), place]
        self.texts[sources[better]] = PADDING
        self.texts[sources[better], : texts.shape[2]] = chosen[better]
        self.scores[sources[better]] = best[better]
        self.count[sources] += (scores > NOTHING).sum(dim=1)


def searched(
    network: nn.Module, inputs: Mapping[str, Tensor], longest: int, search: Search, in_step: bool = False
) -> Tensor:
    """Return the likeliest text (B, longest) for each source, with the token of its end, padded.

    A source is done once as many of its texts have ended as are tried side by side; the others go on without it.

    Args:
        network: in evaluation mode.
        inputs: of B sources.
        longest: most tokens that are written, the end included; a text without an end is taken as it is.
        search: how.
        in_step: whether to write `longest` tokens in any case, as other workers do that hold parts of the weights.

    """
    count = len(next(iter(inputs.values())))
    writing: CanWrite = network if can_write(network) else _Rereading(network)
    memory = writing.begin(inputs)
    device = next(network.parameters()).device
    finished = _Finished(count, longest, device)
    first = torch.arange(count, device=device)
    memory.choose(first.repeat_interleave(search.beam))
    scores = torch.full((count, search.beam), NOTHING, device=device)
    scores[:, 0] = 0.0  # all texts of a source are equal at first: one of them is enough
    running = _Running(first, scores, torch.zeros(count, search.beam, 0, dtype=torch.int64, device=device))
    tokens = torch.full((count * search.beam,), END, device=device)
    for _ in range(longest):
        logits, memory = writing.write(tokens, memory)
        running, rows = _advanced(running, logits.float(), search, finished)
        going = (finished.count[running.sources] < search.beam).nonzero().flatten()
        if not in_step:
            if len(going) == 0:
                break
            running, rows = running.rows(going), rows[going]
        if not torch.equal(rows.flatten(), torch.arange(len(tokens), device=device)):
            memory.choose(rows.flatten())
        tokens = running.texts[:, :, -1].flatten()
    open_ended = finished.count[running.sources] == 0
    scores = torch.where(open_ended.unsqueeze(1), running.scores, NOTHING)
    finished.add(running.sources, scores, running.texts)
    return finished.texts


def _advanced(running: _Running, logits: Tensor, search: Search, finished: _Finished) -> tuple[_Running, Tensor]:
    """Write one more token of each text; return the best texts, and the (b, k) rows they go on from."""
    sources, beam, written = running.texts.shape
    expected = _allowed(logits, running.texts.flatten(0, 1), search.no_repeat).log_softmax(dim=1)
    vocabulary = expected.shape[1]
    together = (running.scores.unsqueeze(2) + expected.view(sources, beam, vocabulary)).flatten(1)
    scores, places = together.topk(min(2 * beam, together.shape[1]), dim=1)  # at most one of a text ends
    parents, tokens = places // vocabulary, places % vocabulary
    before = running.texts.gather(1, parents.unsqueeze(2).expand(-1, -1, written))
    texts = torch.cat([before, tokens.unsqueeze(2)], dim=2)
    ends = tokens == END
    among_best = torch.arange(scores.shape[1], device=scores.device) < beam
    open_sources = (finished.count[running.sources] < beam).unsqueeze(1)
    done = torch.where(ends & among_best & open_sources, scores / (written + 1) ** search.length_penalty, NOTHING)
    finished.add(running.sources, done, texts)
    scores, kept = scores.masked_fill(ends, NOTHING).topk(beam, dim=1)
    texts = texts.gather(1, kept.unsqueeze(2).expand(-1, -1, written + 1))
    rows = torch.arange(sources, device=scores.device).unsqueeze(1) * beam + parents.gather(1, kept)
    return _Running(running.sources, scores, texts), rows


def _allowed(logits: Tensor, texts: Tensor, no_repeat: int) -> Tensor:
    """Return (rows, vocabulary) logits without tokens that are never written, or would repeat a part of (rows, n)."""
    logits = logits.clone()
    logits[:, list(NEVER_WRITTEN)] = NOTHING
    if not no_repeat or texts.shape[1] < no_repeat:
        return logits
    parts = texts.unfold(1, no_repeat, 1)
    last = texts[:, texts.shape[1] - no_repeat + 1 :]
    repeated = (parts[:, :, :-1] == last.unsqueeze(1)).all(dim=2)
    row, place = repeated.nonzero().unbind(1)
    logits[row, parts[row, place, -1]] = NOTHING
    return logits


class _Rereading:
    """Lets a network without memory write texts: it reads all that is written again for each new token."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def begin(self, inputs: Mapping[str, Tensor]) -> Any:
        rows, device = len(next(iter(inputs.values()))), next(self._network.parameters()).device
        return _Tokens({**inputs, WRITTEN: torch.zeros(rows, 0, dtype=torch.int64, device=device)})

    def write(self, tokens: Tensor, memory: "_Tokens") -> tuple[Tensor, "_Tokens"]:
        written = torch.cat([memory.inputs[WRITTEN], tokens.unsqueeze(1)], dim=1)
        inputs = {**memory.inputs, WRITTEN: written}
        return self._network(inputs)[:, -1], _Tokens(inputs)


@dataclass
class _Tokens:
    """What a network without memory reads again."""

    inputs: Mapping[str, Tensor]

    def choose(self, rows: Tensor) -> None:
        self.inputs = {name: value.index_select(0, rows) for name, value in self.inputs.items()}
