"""The `stoker` command: finds the command that was typed, and turns what goes wrong into a message and an exit code."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import click

from stoker.cli.failures import asks_for_json, show_failure, show_internal, show_usage
from stoker.cli.session import Session
from stoker.errors import StokerError

INTERRUPTED = 130
"""128 and the number of SIGINT, as shells have it."""


@dataclass(frozen=True)
class Entry:
    """A command: where it is defined, so that only the typed one is imported, and what `stoker --help` says of it."""

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
        "resume": Entry("continuing", "resume", "Go on with a run that did not come to its end."),
        "extend": Entry("continuing", "extend", "Train a finished run further, or a sweep with more trials."),
    },
    "Stay with it": {
        "ls": Entry("runs", "ls", "List the runs, newest first."),
        "status": Entry("runs", "status", "Show all that is known of a run."),
        "trials": Entry("trials", "trials", "List the trials of a sweep, the best first."),
        "logs": Entry("following", "logs", "Print what a run printed."),
        "wait": Entry("following", "wait", "Wait until a run ends; exit as it did."),
        "pause": Entry("ending", "pause", "Let a run rest at a checkpoint, for `stoker resume`."),
        "cancel": Entry("ending", "cancel", "End a run, with a checkpoint."),
        "kill": Entry("ending", "kill", "End a run at once."),
        "events": Entry("events", "events", "Show what has happened to a run on its cluster."),
    },
    "Use the result": {
        "evaluate": Entry("results", "evaluate", "Measure a run's model on a part of its data, or on other data."),
        "predict": Entry("results", "predict", "Predict with a run's model."),
        "generate": Entry("results", "generate", "Make new samples with a run's model."),
        "ui": Entry("ui", "ui", "Open the MLflow pages of the runs."),
    },
    "About": {
        "cluster": Entry("cluster", "cluster", "Add, list or remove the clusters that runs can go to."),
        "version": Entry("catalogue", "version", "Show the versions of Stoker and of what it stands on."),
    },
}
COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """A group that imports a command when it is typed, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in reading order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(f"stoker.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one was meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(unknown_command(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups."""
        width = max(map(len, COMMANDS))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in entries.items()])


def unknown_command(name: str) -> str:
    """Say that there is no such command, with the nearest one."""
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    cure = f"did you mean '{near[0]}'?" if near else f"the commands are {', '.join(COMMANDS)}"
    return f"no command '{name}'; {cure}"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Train from a YAML file: a run on Ray, its record in MLflow.

    \b
      stoker submit jobs/digits-cnn.yaml     train what the file says, and watch it
      stoker ui @last                    look at the newest run in MLflow
      stoker predict @last --input new/  use its model

    A run is named by its id, by the start of its id, by the job's name (its newest run) or by @last; a trial of a
    sweep by RUN.3, and the best one by RUN.best.
    `stoker COMMAND --help` shows examples.
    """,
    epilog="""Exit codes: 0 succeeded, paused or detached, 1 failed or cancelled, 2 bad input, 3 not found,
    4 unreachable, 5 `wait` timed out, 130 interrupted.""",
)
@click.option("--home", metavar="FOLDER", help="Where the runs are kept.  [default: $STOKER_HOME or ~/.stoker]")
@click.option(
    "--tracking-uri", metavar="URI", help="The MLflow to record in.  [default: $MLFLOW_TRACKING_URI or the home]"
)
@click.option(
    "--storage",
    metavar="PLACE",
    help="Where checkpoints go: a folder, s3://BUCKET/PREFIX.  [default: $STOKER_STORAGE or the run's own folder]",
)
@click.option(
    "--cluster", metavar="NAME", help="Where new runs go.  [default: $STOKER_CLUSTER or `cluster:` of the config file]"
)
@click.pass_context
def stoker(
    ctx: click.Context, home: str | None, tracking_uri: str | None, storage: str | None, cluster: str | None
) -> None:
    """Keep the places for the command that follows."""
    ctx.obj = Session(home, tracking_uri, storage, ctx.obj, cluster)


def main(arguments: Sequence[str] | None = None, driver: Sequence[str] = ()) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: what was typed; default: the command line of this process.
        driver: the command of a run's driver; empty for Stoker's own, which trains.

    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    as_json = asks_for_json(typed)
    try:
        result = stoker.main(args=typed, prog_name="stoker", standalone_mode=False, obj=driver)
    except StokerError as error:
        show_failure(error, as_json)
        return error.exit_code
    except click.ClickException as error:
        show_usage(error, as_json)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("STOKER_DEBUG") == "1":
            traceback.print_exc()
        show_internal(error, as_json)
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
