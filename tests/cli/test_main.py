"""The command itself: what it imports, how it teaches, and how it ends."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from stoker.cli.main import COMMANDS, LazyGroup, main
from stoker.cli.main import stoker as group

HEAVY = ("pydantic", "rich", "yaml", "torch", "ray", "mlflow", "numpy", "pandas")
PROBE = """
import sys
from stoker.cli.main import main
code = main(sys.argv[1:])
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def heavy_imports(*arguments: str, heavy: tuple[str, ...] = HEAVY) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(heavy=heavy), *arguments], capture_output=True, text=True, check=False
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "command",
    [
        *(["--help"], ["ls"], ["ls", "-o", "json"], ["status", "x"], ["logs", "x"], ["wait", "x"]),
        *(["pause", "x"], ["cancel", "x"], ["resume", "x"], ["trials", "x"], ["status", "x.best"]),
        *(["cache", "ls"], ["cache", "rm", "s3://bucket/x"]),
    ],
)
def test_daily_commands_import_nothing_heavy(command, home):
    assert heavy_imports("--home", str(home), *command) == "[]"


def test_help_imports_no_command():
    assert (
        heavy_imports("--help", heavy=tuple(f"stoker.cli.commands.{entry.module}" for entry in COMMANDS.values()))
        == "[]"
    )


@pytest.mark.parametrize("source", ["digits", "s3://bucket/pictures/", "https://host/pictures/"])
def test_validate_imports_no_framework(tmp_path, source):
    job = tmp_path / "job.yaml"
    job.write_text(f"task: image-classification\ndataset: {source}\n")
    heavy = ("torch", "ray", "mlflow", "numpy", "pandas", "rich", "boto3", "requests", "huggingface_hub")
    assert heavy_imports("validate", str(job), heavy=heavy) == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example(name, capsys):
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"stoker {name}" in shown.partition("Examples:")[2]


def commands(parent: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield all commands with their subcommands, by their full names."""
    context = click.Context(parent)
    for name in parent.list_commands(context):
        command = parent.get_command(context, name)
        assert command
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


@pytest.mark.parametrize(("name", "command"), list(commands(group)))
def test_every_command_has_examples_and_answers_in_json(name, command):
    assert command.epilog, f"stoker {name} has no example"
    forms = [option for option in command.params if option.name == "form"]
    assert forms, f"stoker {name} has no -o json"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_is_the_first_paragraph_of_its_help(name):
    command = LazyGroup().get_command(click.Context(group), name)
    assert command is not None
    begin = (command.help or "").split("\n\n")[0].replace("\n", " ")
    if "..." not in COMMANDS[name].summary:
        assert begin == COMMANDS[name].summary


def test_the_groups_help_teaches_in_three_lines(capsys):
    assert main(["--help"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("    stoker ")]
    assert len(lines) == 3


def test_an_unknown_command_names_the_nearest(capsys):
    assert main(["sumbit", "job.yaml"]) == 2
    assert "no command 'sumbit'; did you mean 'submit'?" in capsys.readouterr().err


def test_an_unknown_option_is_bad_input(capsys):
    assert main(["ls", "--no-such"]) == 2
    assert "--no-such" in capsys.readouterr().err


def test_a_missing_run_is_not_found(stoker, capsys):
    assert stoker("status", "nothing") == 3
    assert capsys.readouterr().err.startswith("error: no run 'nothing'")


def test_errors_are_json_where_json_was_asked_for(stoker, capsys):
    assert stoker("status", "nothing", "-o", "json") == 3
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert (error["type"], error["exit_code"], error["problems"]) == ("NotFound", 3, [])
    assert captured.err == ""


def test_usage_errors_are_json_too(stoker, capsys):
    assert stoker("ls", "-n", "none", "-o", "json") == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


def test_an_interrupted_command_ends_with_130(spawn, make_run, drive):
    drive(make_run()).tell(log="a line\n")
    process = spawn("logs", "-f", "digits")
    assert process.stdout.readline() == "a line\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in error


def test_a_reader_that_goes_away_is_no_error(spawn, make_run):
    make_run(log="a line of the log\n" * 100_000)
    process = spawn("logs", "digits")
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(10)


def test_the_jobs_that_help_names_exist():
    sources = (Path(__file__).parents[2] / "platform" / "stoker" / "cli").rglob("*.py")
    named = {name for source in sources for name in re.findall(r"jobs/[a-z0-9/-]+\.yaml", source.read_text())}
    assert named
    assert [name for name in named if not (Path(__file__).parents[2] / name).exists()] == []
