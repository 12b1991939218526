"""Settings of `custom`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, model_serializer

from stoker.job.section import Section


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
