"""The runs of a home, and what people call them."""

from pathlib import Path

from stoker.errors import NotFound
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunHeader


def runs(home: Path) -> list[RunFolder]:
    """List the runs of a home, newest first."""
    folder = home / "runs"
    if not folder.is_dir():
        return []
    children = (RunFolder(path) for path in folder.iterdir() if not path.name.startswith("."))
    found = [run for run in children if run.readable()]
    return sorted(found, key=lambda run: run.header().order, reverse=True)


def find_run(home: Path, reference: str) -> RunFolder:
    """Find a run by id, by `run:ID`, by name (its newest run), by a unique prefix of an id, or by `@last`.

    Raises:
        NotFound: no run, or several, answer to it.

    """
    reference = reference.removeprefix("run:")
    everything = runs(home)
    if not everything:
        raise NotFound(f"no run '{reference}': nothing was submitted from {home} yet")
    if reference == "@last":
        mine = [run for run in everything if not run.adopted.exists()]
        if not mine:
            raise NotFound(f"nothing was submitted from {home} yet")
        return mine[0]
    headers = [(run, run.header()) for run in everything]
    for matches in (_by_id(headers, reference), _by_name(headers, reference)):
        if matches:
            return matches[0]
    prefixed = [run for run, header in headers if header.id.startswith(reference)]
    if len(prefixed) == 1:
        return prefixed[0]
    if prefixed:
        raise NotFound(f"'{reference}' could be {', '.join(run.path.name for run in prefixed[:5])}; type more of it")
    newest = ", ".join(header.id for _, header in headers[:3])
    raise NotFound(f"no run '{reference}' (newest: {newest}); `stoker ls` lists all")


def _by_id(headers: list[tuple[RunFolder, RunHeader]], reference: str) -> list[RunFolder]:
    return [run for run, header in headers if header.id == reference]


def _by_name(headers: list[tuple[RunFolder, RunHeader]], reference: str) -> list[RunFolder]:
    return [run for run, header in headers if header.name == reference]
