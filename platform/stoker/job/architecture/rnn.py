"""Settings of `rnn`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Beam, LengthPenalty, NoRepeat, Width, WordVectors
from stoker.job.section import Section


class Rnn(Section):
    """A recurrent network that reads a text token by token, or word by word: vanilla (Elman 1990), LSTM or GRU.

    To translate or summarise, a second one writes, with attention to the first (Luong et al. 2015).
    """

    family: Literal["rnn"]
    """The network family."""

    cell: Literal["lstm", "gru", "vanilla"] = "lstm"
    """What remembers: gates keep gradients alive over long texts, a vanilla cell forgets."""

    embedding: Width = 128
    """Numbers that stand for a token."""

    word_vectors: WordVectors = "random"
    """What the vectors of words are before training: random, or computed from how often words occur in the same text of
    the training part (co-occurrence), so that related words are near each other from the start. For tasks that read a
    text as a whole, above all for fill-mask on some thousand texts, from which jobs on few labels start."""

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
    beam: Beam | None = None
    """Translations or summaries that are tried side by side, the likeliest of which is the answer; 1 takes the
    likeliest token each time, as metrics do while training. Default: 4."""

    length_penalty: LengthPenalty | None = None
    """The power of its length that divides the log-probability of a text: with more than 1 longer texts are preferred,
    with 0 short ones. Default: 1."""

    no_repeat: NoRepeat | None = None
    """Tokens in a row that must not occur twice in a text, such as 3 for summaries. Default: 0, none."""
