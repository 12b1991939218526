"""Settings of `transformer`."""

from typing import Literal

from pydantic import Field

from stoker.job.architecture.layers import Beam, LengthPenalty, NoRepeat, Width, WordVectors
from stoker.job.section import Section


class Transformer(Section):
    """A transformer (Vaswani et al. 2017): an encoder, whose words see all others, or a decoder to continue texts.

    To translate or summarise it is both, each with so many layers.
    """

    family: Literal["transformer"]
    """The network family."""

    width: Width = 128
    """Numbers that stand for a word in every layer; a multiple of `heads`."""

    word_vectors: WordVectors = "random"
    """What the vectors of words are before training: random, or computed from how often words occur in the same text of
    the training part (co-occurrence), so that related words are near each other from the start. For tasks that read a
    text as a whole, above all for fill-mask on some thousand texts, from which jobs on few labels start."""

    layers: int = Field(2, ge=1, le=96)
    """Blocks of attention and feed-forward layer, one above the other."""

    heads: int = Field(4, ge=1, le=256)
    """Attentions of a block side by side, each over its part of the width."""

    key_heads: int | None = Field(None, ge=1, le=256)
    """Keys and values for groups of heads (Ainslie et al. 2023), which need less memory; a divisor of `heads`."""

    feedforward: Width | None = None
    """Width inside the feed-forward layers; four times `width` if not set."""

    positions: Literal["rotary", "learned"] = "rotary"
    """How a word's place is told: by turning queries and keys (Su et al. 2021), or by an embedding of each place."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the outputs of each part of a block that are switched off at random while training."""

    word_dropout: float | None = Field(None, ge=0, lt=1)
    """Share of the words that are left out at random while training: small datasets need 0.1 to 0.3. Default: none, but
    0.5 to tag words, which are then taken for unknown and keep their characters."""
    beam: Beam | None = None
    """Translations or summaries that are tried side by side, the likeliest of which is the answer; 1 takes the
    likeliest token each time, as metrics do while training. Default: 4."""

    length_penalty: LengthPenalty | None = None
    """The power of its length that divides the log-probability of a text: with more than 1 longer texts are preferred,
    with 0 short ones. Default: 1."""

    no_repeat: NoRepeat | None = None
    """Tokens in a row that must not occur twice in a text, such as 3 for summaries. Default: 0, none."""
