"""The network families and their settings, one class each; the family's name is its module in `architectures/`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, model_serializer

from stoker.spec.section import Section, Shorthand

Activation = Literal["relu", "gelu", "silu", "tanh", "sigmoid"]
Width = Annotated[int, Field(ge=1, le=65536)]


class Perceptron(Section):
    """A single linear layer (Rosenblatt 1958): it separates only what a plane separates."""

    family: Literal["perceptron"]
    """The network family."""


class Mlp(Section):
    """A multi-layer perceptron: linear layers with an activation between them."""

    family: Literal["mlp"]
    """The network family."""

    hidden: Annotated[tuple[Width, ...], Field(strict=False, min_length=1)] | None = None
    """Widths of the hidden layers, first to last; default: from the number of inputs and samples."""

    activation: Activation = "relu"
    """What stands between the layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the hidden units that are switched off at random while training."""


class Cnn(Section):
    """A convolutional network: one stage for each entry of `channels`, each halving it, then the mean."""

    family: Literal["cnn"]
    """The network family."""

    channels: Annotated[tuple[Width, ...], Field(strict=False, min_length=1)] | None = None
    """Channels of the stages, first to last; default: from the size of the pictures."""

    blocks: Literal["plain", "residual"] = "plain"
    """What a stage is made of: one convolution, or two with a shortcut around them (He et al. 2016)."""

    kernel: int = Field(3, ge=1, le=31)
    """Width and height of the convolutions in pixels; an odd number."""

    activation: Activation = "relu"
    """What stands between the layers."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the last features that are switched off at random while training."""


def _check_class_path(path: str) -> str:
    module, _, name = path.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), name]):
        raise ValueError("is not module:Class (example: my_model:Network)")
    return path


ClassPath = Annotated[
    str, AfterValidator(_check_class_path), Field(json_schema_extra={"pattern": r"^[^:\s]+:[^:\s.]+$"})
]


class Custom(Section):
    """Your own torch module, shipped with the job; every other key is a setting that its class gets."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    family: Literal["custom"]
    """The network family."""

    class_name: ClassPath = Field(alias="class")
    """The class of your network; written `module:Class`, with the module below `environment.code`."""

    @property
    def settings(self) -> dict[str, object]:
        """Every other key: what the class is made with."""
        return dict(self.__pydantic_extra__)

    @model_serializer
    def _as_written(self) -> dict[str, object]:
        """Keep the settings as they are: a null among them means something to the class."""
        return {"family": self.family, "class": self.class_name, **self.settings}


Architecture = Annotated[Perceptron | Mlp | Cnn | Custom, Field(discriminator="family")]
ArchitectureChoice = Annotated[Architecture, Shorthand("family")]
FAMILIES: dict[str, type[Section]] = {"perceptron": Perceptron, "mlp": Mlp, "cnn": Cnn, "custom": Custom}
