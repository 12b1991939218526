"""Settings of `tracking`: the MLflow experiment and the model registry."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Tag

from stoker.job.section import SECTION_OR_NONE, Section


def _check_model_name(name: str) -> str:
    if "/" in name or ":" in name:
        raise ValueError(f"'{name}' may hold neither '/' nor ':'")
    return name


ModelName = Annotated[
    str,
    Field(min_length=1, max_length=250, json_schema_extra={"pattern": "^[^/:]+$"}),
    AfterValidator(_check_model_name),
]


class Tracking(Section):
    """Where runs are recorded in MLflow, and whether their models are registered."""

    experiment: str | None = Field(None, min_length=1, max_length=250)
    """MLflow experiment that lists the runs; default: the job's name."""

    register_as: ModelName | None = Field(None, alias="register")
    """Register the model under this name in MLflow's registry, each run as a new version; of a job with `entrypoint`,
    the newest model that it has logged, or else its newest checkpoint as it is. Default: not registered."""


TrackingChoice = Annotated[
    Annotated[Tracking, Tag("section")] | Annotated[Literal["none"], Tag("none")], SECTION_OR_NONE
]
