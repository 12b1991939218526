"""What the job finds where it runs: the user's code and the variables of its processes."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from stoker.job.section import Section

NAME = r"[A-Za-z_][A-Za-z0-9_]*"


def _check_name(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError(
            "is not the name of an environment variable: letters, digits and '_', no digit first (example: DATA_ROOT)"
        )
    return name


def _check_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character cannot stand here")
    return text


VariableName = Annotated[str, AfterValidator(_check_name), Field(json_schema_extra={"pattern": f"^{NAME}$"})]
Text = Annotated[str, AfterValidator(_check_text)]


class Environment(Section):
    """What every worker finds where it runs."""

    code: Text | None = Field(None, min_length=1)
    """The folder whose Python files are shipped with the job and can be imported, relative to the file that names it.
    Default: the job file's folder where the architecture is custom, else nothing."""

    image: Text | None = Field(None, min_length=1)
    """Container image of every process on a cluster; it must hold this version of Stoker. Default: the cluster's."""

    packages: Annotated[tuple[Annotated[Text, Field(min_length=1)], ...], Field(strict=False)] = ()
    """Python packages that every process on a cluster installs at its start, as pip takes them, such as
    `einops==0.8.1`. An image that has them starts sooner."""

    pod: dict[str, Any] = Field({})
    """What is laid over the description of every pod on a cluster, in Kubernetes' own words, such as
    `{nodeSelector: {zone: a}}`. Its administrator says which of its keys a job may set."""

    env: dict[VariableName, Text] = Field({}, json_schema_extra={"additionalProperties": False})
    """Environment variables of every worker, by name. They are kept in the run's record: secrets do not belong here."""
