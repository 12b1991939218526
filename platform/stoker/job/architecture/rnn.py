"""Settings of `rnn`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Width
from stoker.job.section import Section


class Rnn(Section):
    """A recurrent network that reads a text token by token, or word by word: vanilla (Elman 1990), LSTM or GRU."""

    family: Literal["rnn"]
    """The network family."""

    cell: Literal["lstm", "gru", "vanilla"] = "lstm"
    """What remembers: gates keep gradients alive over long texts, a vanilla cell forgets."""

    embedding: Width = 128
    """Numbers that stand for a token."""

    hidden: Width = 128
    """Numbers that are remembered, in each direction."""

    layers: int = Field(1, ge=1, le=16)
    """Recurrent layers, one above the other."""

    bidirectional: bool | None = None
    """Read the text from both ends. Default: yes, but to continue texts, whose end is not known."""

    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the tokens' and of the last features that are switched off at random while training."""

    word_dropout: float | None = Field(None, ge=0, lt=1)
    """Share of the words that are taken for unknown at random while training. Default: 0.5 to tag words, of which the
    characters stay; otherwise none."""
