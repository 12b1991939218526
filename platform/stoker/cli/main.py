"""The `stoker` command: dispatches to the commands, and turns errors into messages and exit codes."""

import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click

from stoker import __version__
from stoker.cli.session import Session
from stoker.cli.views.errors import asks_for_json, show_error, show_unexpected_error, show_usage_error
from stoker.errors import StokerError

INTERRUPTED = 130
"""128 plus the number of SIGINT, as in shells."""


@dataclass(frozen=True)
class Entry:
    """Module and function of a command, which are imported when it is used, and its line in `stoker --help`."""

    module: str
    attribute: str
    summary: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Write a job": {
        "data": Entry("data", "data", "Show what is in a dataset: columns, classes, missing values, ..."),
        "init": Entry("data", "init", "Write a commented job for a dataset; it trains as it stands."),
        "list": Entry("catalogue", "list_command", "List what a job can name: tasks, families, datasets, ..."),
        "schema": Entry("catalogue", "schema", "Explain a key of the job file, or print its JSON Schema."),
        "validate": Entry("validate", "validate", "Check a job file and show every mistake in it."),
        "plan": Entry("plan", "plan", "Show what a job would train, without training it."),
    },
    "Start a run": {
        "submit": Entry("submit", "submit", "Start a run and watch it."),
        "resume": Entry("resume", "resume", "Continue a run that has not succeeded."),
        "extend": Entry("resume", "extend", "Train a finished run further, or a sweep with more trials."),
    },
    "Watch and control it": {
        "ls": Entry("runs", "ls", "List the runs, newest first."),
        "status": Entry("runs", "status", "Show the state and the results of a run."),
        "trials": Entry("trials", "trials", "List the trials of a sweep, the best first."),
        "logs": Entry("logs", "logs", "Print the log of a run."),
        "wait": Entry("logs", "wait", "Wait until a run ends, and exit with its code."),
        "pause": Entry("stop", "pause", "Pause a run at a checkpoint, for `stoker resume`."),
        "cancel": Entry("stop", "cancel", "End a run after a checkpoint."),
        "kill": Entry("stop", "kill", "End a run at once."),
        "events": Entry("events", "events", "Show what has happened to a run on its cluster."),
        "rm": Entry("rm", "rm", "Delete runs that have ended; MLflow keeps their record."),
    },
    "Use the result": {
        "evaluate": Entry("inference", "evaluate", "Measure a run's model on a part of its data, or on other data."),
        "predict": Entry("inference", "predict", "Predict with a run's model."),
        "generate": Entry("generate", "generate", "Make new samples with a run's model."),
        "export": Entry("export", "export", "Write a run's model in a format that other programs load."),
        "ui": Entry("ui", "ui", "Open the runs in MLflow."),
    },
    "About": {
        "cache": Entry("cache", "cache", "List or delete the data that was downloaded for jobs."),
        "cluster": Entry("cluster", "cluster", "Add, list or remove clusters."),
        "version": Entry("catalogue", "version", "Show the versions of Stoker and its dependencies."),
    },
}
COMMANDS_PACKAGE = "stoker.cli.commands"
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """A group that imports a command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in reading order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(f"{COMMANDS_PACKAGE}.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, or fail with the most similar name."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(unknown_command(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in sections."""
        width = max(map(len, COMMANDS))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in entries.items()])


def unknown_command(name: str) -> str:
    """Return the error for an unknown command, with the most similar name."""
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    cure = f"did you mean '{near[0]}'?" if near else f"the commands are {', '.join(COMMANDS)}"
    return f"no command '{name}'; {cure}"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Train from a YAML file: a run on Ray, its record in MLflow.

    \b
      stoker submit jobs/vision/digits-cnn.yaml  train what the file describes, and watch it
      stoker ui @last                            open the newest run in MLflow
      stoker predict @last --input new/          use its model

    RUN is an id, the start of an id, a job's name (its newest run) or @last; RUN.3 is trial 3 of a sweep, and RUN.best
    its best one.
    `stoker COMMAND --help` shows examples.
    """,
    epilog="""Exit codes: 0 succeeded, paused or detached, 1 failed or cancelled, 2 bad input, 3 not found,
    4 unreachable, 5 `wait` timed out, 130 interrupted.""",
)
@click.option("--home", metavar="FOLDER", help="Where the runs are kept.  [default: $STOKER_HOME or ~/.stoker]")
@click.option(
    "--tracking-uri", metavar="URI", help="The MLflow that records runs.  [default: $MLFLOW_TRACKING_URI or the home]"
)
@click.option(
    "--storage",
    metavar="PLACE",
    help="Where checkpoints go: a folder, s3://BUCKET/PREFIX.  [default: $STOKER_STORAGE or the run's own folder]",
)
@click.option(
    "--cluster", metavar="NAME", help="Where new runs go.  [default: $STOKER_CLUSTER or `cluster:` of the config file]"
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def stoker(
    ctx: click.Context, home: str | None, tracking_uri: str | None, storage: str | None, cluster: str | None
) -> None:
    """Pass the options to the command."""
    if home:
        ctx.with_resource(_home_in_environment(home))
    ctx.obj = Session(home, tracking_uri, storage, ctx.obj, cluster)


@contextmanager
def _home_in_environment(home: str) -> Iterator[None]:
    """Name the home to whatever reads settings in this process, such as the cache that `plan` fills."""
    before = os.environ.get("STOKER_HOME")
    os.environ["STOKER_HOME"] = home
    try:
        yield
    finally:
        if before is None:
            del os.environ["STOKER_HOME"]
        else:
            os.environ["STOKER_HOME"] = before


def main(arguments: Sequence[str] | None = None, driver: Sequence[str] = ()) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: default: those of this process.
        driver: command that starts a driver; default: Stoker's own.

    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    as_json = asks_for_json(typed)
    try:
        result = stoker.main(args=typed, prog_name="stoker", standalone_mode=False, obj=driver)
    except StokerError as error:
        show_error(error, as_json)
        return error.exit_code
    except click.ClickException as error:
        show_usage_error(error, as_json)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("STOKER_DEBUG") == "1":
            traceback.print_exc()
        show_unexpected_error(error, as_json)
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
