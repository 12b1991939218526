"""`resume` and `extend`: going on with a run, as the same one or as a new one after it."""

from dataclasses import replace

import click

from stoker.cli.attach import stay_with
from stoker.cli.job_files import load
from stoker.cli.reports import checkpoint_text
from stoker.cli.session import (
    Session,
    detach_option,
    examples,
    format_option,
    run_argument,
    session_object,
    set_option,
)
from stoker.cli.submit import require_tracking, start, started_text
from stoker.clusters.local import Origin, require_resumable
from stoker.errors import NotFound
from stoker.tracking.record import RunFolder
from stoker.tracking.run import RunRecord, State


@click.command(
    epilog=examples(
        "stoker resume @last                the newest run, from its newest checkpoint",
        "stoker resume digits-1a2b -d       in the background",
    )
)
@run_argument
@detach_option
@format_option
@session_object
def resume(session: Session, run: str, detach: bool, form: str) -> int:
    """Go on with a run that did not come to its end.

    One that is PAUSED, INTERRUPTED, FAILED or CANCELLED begins its next attempt at its newest checkpoint, with the
    file, the code and the record that it has. One that has succeeded is trained further by `stoker extend`. Exit codes
    as of `stoker submit`.
    """
    folder = session.find(run)
    place = session.place_of(folder)
    record = place.refresh(folder)
    require_resumable(folder)
    header = record.header
    if header.tracking_uri and not header.cluster:
        require_tracking(session.settings.of_run(header.tracking_uri, header.storage))
    place.resume(folder)
    return stay_with(place, folder, detach, form, resumed_text(record))


@click.command(
    epilog=examples(
        "stoker extend @last --epochs 10",
        "stoker extend digits --epochs 5 --set training.optimizer.lr=1e-4",
    )
)
@run_argument
@click.option("--epochs", type=click.IntRange(1, 1_000_000), required=True, help="How many more.")
@set_option
@detach_option
@format_option
@session_object
def extend(session: Session, run: str, epochs: int, sets: tuple[str, ...], detach: bool, form: str) -> int:
    """Train a finished run further, as a new run.

    It begins with the last weights of the run; its schedule begins anew, over so many epochs. The run itself stays as
    it is. Exit codes as of `stoker submit`.
    """
    folder = session.find(run)
    _require_success(folder)
    run_id = folder.path.name
    session = replace(session, storage=folder.header().storage)  # where the weights are that it begins with
    length = (f"training.epochs={epochs}", "training.steps=null", "training.time=null")
    loaded = load(session, f"run:{run_id}", [*sets, *length])
    new = start(session, loaded, Origin(loaded.code, extends=run_id), form)
    greeting = f"{started_text(new.record(), session.settings)}\nextends {run_id}"
    return stay_with(session.place_of(new), new, detach, form, greeting)


def resumed_text(record: RunRecord) -> str:
    """Say which run goes on, and from where; `record` is what was known before."""
    where = f"from {checkpoint_text(record.status)}" if record.status.checkpoint_step else "from its beginning"
    return f"run {record.id} was {record.state}; it goes on {where}"


def _require_success(folder: RunFolder) -> None:
    record = folder.record()
    if not record.state.ended:
        raise NotFound(f"{record.id} is {record.state}; it can be extended once it has succeeded")
    if record.state is not State.SUCCEEDED:
        raise NotFound(
            f"{record.id} is {record.state}, it has not succeeded; `stoker resume {record.id}` goes on with it"
        )
