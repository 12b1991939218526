"""The text of tokens, piece by piece while they are written."""

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from stoker.datasets.tokens.characters import REPLACEMENT
from stoker.datasets.tokens.tokenizer import Tokenizer


def streamed(
    steps: Iterable[Tensor], tokenizer: Tokenizer, stops: Sequence[str], ends: frozenset[int]
) -> Iterator[str]:
    """Yield the text of tokens as soon as it is sure.

    Args:
        steps: (1,) a token each.
        tokenizer: of the tokens.
        stops: the text ends before the first of these.
        ends: tokens that end the text.

    """
    tokens: list[int] = []
    held = max((len(each) - 1 for each in stops), default=0)  # may be the beginning of a stop
    sent, found = 0, ""
    for step in steps:
        if int(step) in ends:
            break
        tokens.append(int(step))
        found = tokenizer.decode(tokens)
        if (end := _first_of(stops, found)) is not None:
            yield found[sent:end]
            return
        whole = len(found.rstrip(REPLACEMENT))  # a character may come in several bytes
        if whole - held > sent:
            yield found[sent : whole - held]
            sent = whole - held
    yield found[sent:]


def _first_of(stops: Sequence[str], text: str) -> int | None:
    """Return where the first stop begins; None if there is none."""
    places = [place for place in map(text.find, stops) if place >= 0]
    return min(places, default=None)
