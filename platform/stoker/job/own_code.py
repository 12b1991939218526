"""A job that runs the user's own training code: a function under Ray Train, or a script as torchrun starts it."""

import re
import shlex
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import AfterValidator, Field

from stoker.job.environment import Environment
from stoker.job.job import Job, JobName
from stoker.job.resources import Resources
from stoker.job.section import Section, Shorthand
from stoker.job.sweep import Sweep
from stoker.job.tracking import TrackingChoice

FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
CodeKind = Literal["function", "script"]
EXAMPLES = "finetune:train for a function, train.py --epochs 3 for a script"


@dataclass(frozen=True)
class Entrypoint:
    """What each worker runs."""

    text: str
    """As in the job file."""

    @property
    def function(self) -> tuple[str, str] | None:
        """Module and name of the function; None for a script."""
        module, _, name = self.text.partition(":")
        return (module, name) if FUNCTION.fullmatch(self.text) else None

    @property
    def script(self) -> tuple[str, ...]:
        """The script and its options; empty for a function."""
        return () if self.function else tuple(shlex.split(self.text))


def _check_entrypoint(text: str) -> str:
    """Return a function, or the command of a script.

    Raises:
        ValueError: it is neither.

    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"'{text}' cannot be split into words: {str(error).lower()}") from None
    if not words or not (FUNCTION.fullmatch(text) or words[0].endswith(".py")):
        raise ValueError(f"'{text}' is neither module:function nor a script ({EXAMPLES})")
    if words[0].startswith(("/", "..")):
        raise ValueError(f"'{words[0]}' is not inside the code folder; write its path relative to environment.code")
    return text


EntrypointText = Annotated[str, AfterValidator(_check_entrypoint)]


class CodeData(Section):
    """Files for the user's code."""

    source: str = Field(min_length=1)
    """A path to a file or folder, a pattern such as `data/*.csv`, or an address that begins with `s3://`, `https://` or
    `hf://`. What is remote is downloaded to each node once. `${NAME}` stands for an environment variable."""


class CodeJob(Section):
    """The code to run, its settings, and the resources to use."""

    version: Literal[1] = 1
    """Version of the job language."""

    name: JobName | None = None
    """Name of the job, such as `finetune`; the ids of its runs start with it. Default: the file's name."""

    entrypoint: EntrypointText
    """What each worker runs, in place of a task: `module:function`, a training function of Ray Train, or a script with
    its options, such as `train.py --epochs 3`, which is started with the environment variables of torchrun."""

    settings: dict[str, Any] = Field({})
    """What the function gets as its only argument, or further options of the script, such as `{lr: 2e-5}`."""

    dataset: Annotated[CodeData, Shorthand("source")] | None = None
    """Files that are brought to each node. The function finds their path in `dataset` of its settings, a script in the
    environment variable STOKER_DATASET. Default: none."""

    resources: Resources = Field({}, validate_default=True)
    """Number of workers, and the hardware of each of them."""

    environment: Environment = Field({}, validate_default=True)
    """Code, packages and environment variables of the workers. The default of `code` is the job file's folder."""

    tracking: TrackingChoice = Field({}, validate_default=True)
    """Where runs are recorded in MLflow; `none` records without MLflow, in the run's folder only."""

    sweep: Sweep | None = None
    """A search over `settings`, by a metric that the function reports, or that the script logs to MLflow. An epoch of
    its scheduler is a report. Default: one run."""

    @property
    def entry(self) -> Entrypoint:
        """What each worker runs."""
        return Entrypoint(self.entrypoint)


AnyJob = Job | CodeJob


def kind_of_code(job: AnyJob) -> CodeKind | None:
    """Return the kind of a job's own code; None for a job with a task."""
    if not isinstance(job, CodeJob):
        return None
    return "function" if job.entry.function else "script"


def is_function(job: AnyJob) -> TypeGuard[CodeJob]:
    """Return whether a job is a training function, whose workers Ray Train starts."""
    return kind_of_code(job) == "function"
