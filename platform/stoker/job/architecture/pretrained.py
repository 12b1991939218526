"""Settings of `pretrained`."""

from typing import Annotated, Literal

from pydantic import Field, Tag

from stoker.job.architecture.layers import Beam, LengthPenalty, NoRepeat
from stoker.job.section import SECTION_OR_NONE, Section


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021): the model stays as it is, small matrices beside its layers are trained."""

    rank: int = Field(8, ge=1, le=1024)
    """Rank of the matrices: the number of trained weights grows with it."""

    alpha: int = Field(16, ge=1)
    """What the matrices add is multiplied by alpha / rank."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the adapters' inputs that are switched off at random while training."""

    targets: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """Names of the linear layers that get adapters, such as `query`; default: all but the output layer. On SST-2
    they bring MiniLM within 0.01 of the accuracy of tuning it as a whole, queries and values alone within 0.023."""


LoraChoice = Annotated[Annotated[Lora, Tag("section")] | Annotated[Literal["none"], Tag("none")], SECTION_OR_NONE]


class Pretrained(Section):
    """A pretrained text model of Hugging Face's transformers; it needs stoker[pretrained].

    It gets a new head, or keeps its own output layers where a task has use for them: to fill in or continue texts, and
    to write one from another.
    """

    family: Literal["pretrained"]
    """The network family."""

    model: str = Field(min_length=1)
    """A folder with config.json, model.safetensors and tokenizer.json, or a model of the Hugging Face Hub,
    `OWNER/NAME[@REVISION]`, which is downloaded once. Texts are cut by its own tokenizer."""

    lora: LoraChoice = "none"
    """Train small adapters in place of the model's own weights; only these and the head are saved."""

    frozen: Annotated[int, Field(ge=0, le=1024)] | Literal["all"] = 0
    """Number of first layers, embeddings included, that are not trained and not saved; `all` trains the head alone. Of
    an encoder with a decoder, so many of each."""

    pooling: Literal["mean", "pooler"] = "mean"
    """What stands for a text: the mean of its tokens' features, or the output of the model's own pooling layer."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the features that the head does not see at random while training; inside, the model keeps its own."""

    beam: Beam | None = None
    """Translations or summaries that are tried side by side, the likeliest of which is the answer; 1 takes the
    likeliest token each time, as metrics do while training. Default: 4."""

    length_penalty: LengthPenalty | None = None
    """The power of its length that divides the log-probability of a text: with more than 1 longer texts are preferred,
    with 0 short ones. Default: 1."""

    no_repeat: NoRepeat | None = None
    """Tokens in a row that must not occur twice in a text, such as 3 for summaries. Default: 0, none."""
