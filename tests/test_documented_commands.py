"""The commands and links of the documentation name files, commands and options that exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from stoker.cli.main import stoker

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / name
    for name in (
        "README.md",
        "docs/kubernetes.md",
        "docs/language.md",
        "docs/own-code.md",
        "docs/scaling.md",
        "docs/vision.md",
        "docs/generation.md",
        "k8s/README.md",
        "helm/stoker/README.md",
    )
]
COMMENTED = sorted((ROOT / "k8s").glob("*.yaml"))
"""Files whose comments have commands."""
FOLDERS = ("jobs", "k8s", "helm", "docs", "tests", "bench")
STARTS = ("stoker", "helm", "kubectl", "docker", "k8s/package-chart")


def commands(path):
    """Return the commands that a file shows, as lists of words."""
    text = path.read_text(encoding="utf-8").replace("\\\n#", "").replace("\\\n", "")
    lines = re.findall(r"^(?:\$|#) +(.+)$", text, re.MULTILINE)
    found = [
        shlex.split(part, comments=True)
        for line in lines
        for part in re.split(r"; |&& |\| ", line)
        if part.split(" ")[0] in STARTS
    ]
    return [words for words in found if words]


@pytest.mark.parametrize("page", [*PAGES, *COMMENTED], ids=lambda path: path.name)
def test_the_files_of_a_command_exist(page):
    words = [word for command in commands(page) for word in command]
    paths = [word for word in words if word.split("/")[0] in FOLDERS and "/" in word]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_links_lead_to_files(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_of_stoker_and_their_options_exist(page):
    for name, *words in commands(page):
        if name != "stoker":
            continue
        command = stoker
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found, (name, words)
            command = found
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert options <= {*known, "--help"}, (command.name, words)


def test_the_options_of_package_chart_exist():
    script = (ROOT / "k8s" / "package-chart").read_text(encoding="utf-8")
    shown = [words for page in PAGES for name, *words in commands(page) if name == "k8s/package-chart"]
    options = {word for words in shown for word in words if word.startswith("--")}
    assert options == {option for option in options if f"{option})" in script} == {"--without-operator"}
