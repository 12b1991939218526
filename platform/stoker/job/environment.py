"""Settings of `environment`: code, container image, packages, pod spec and environment variables of the workers."""

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
        raise ValueError("a NUL character is not allowed here")
    return text


VariableName = Annotated[str, AfterValidator(_check_name), Field(json_schema_extra={"pattern": f"^{NAME}$"})]
Text = Annotated[str, AfterValidator(_check_text)]


class Environment(Section):
    """The software environment of the workers."""

    code: Text | None = Field(None, min_length=1)
    """Folder of your Python modules, relative to the file that sets this key. Its Python files are shipped with the job
    and can be imported, with settings in files of up to 100 kB (toml, yaml, json, ini, cfg). Default: the job file's
    folder if the architecture is custom, or the job has an entrypoint; else none."""

    image: Text | None = Field(None, min_length=1)
    """Container image of all processes on a cluster; it must contain this version of Stoker. Default: the cluster's."""

    packages: Annotated[tuple[Annotated[Text, Field(min_length=1)], ...], Field(strict=False)] = ()
    """Python packages that each process on a cluster installs with pip when it starts, such as `einops==0.8.1`. A job
    starts faster with an image that already contains them."""

    pod: dict[str, Any] = Field({})
    """Fields of a Kubernetes pod spec that are merged into each pod on a cluster, such as `{nodeSelector: {zone: a}}`.
    The cluster's administrator decides which fields a job may set."""

    env: dict[VariableName, Text] = Field({}, json_schema_extra={"additionalProperties": False})
    """Environment variables of all workers, by name. They are stored in the run's record, so do not put secrets
    here."""
