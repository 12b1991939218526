"""`resume` and `extend`: continue a run, as the same one or as a new one."""

from dataclasses import replace

import click

from stoker.cli.attach import stay_attached
from stoker.cli.commands.submit import require_tracking, start, started_text
from stoker.cli.job_argument import load
from stoker.cli.session import (
    Session,
    detach_option,
    examples,
    format_option,
    run_argument,
    session_object,
    set_option,
)
from stoker.cli.views.run_report import checkpoint_text
from stoker.cli.views.sweep import read_sweep, total_text
from stoker.clusters import verbs
from stoker.clusters.cluster import Cluster
from stoker.clusters.new_run import Origin
from stoker.clusters.preconditions import require_resumable, require_succeeded
from stoker.errors import NotFound
from stoker.tracking.run import RunRecord, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.trials import read_facts


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
    """Continue a run that has not succeeded.

    A run that is PAUSED, INTERRUPTED, FAILED or CANCELLED starts its next attempt from its newest checkpoint, with its
    own file, code and record. `stoker extend` trains one that has succeeded further. Exit codes are those of `submit`.
    """
    folder = session.find(run)
    cluster = session.cluster_of(folder)
    record = cluster.refresh(folder)
    require_resumable(folder)
    header = record.header
    if header.tracking_uri and not header.cluster:
        require_tracking(session.settings.of_run(header.tracking_uri, header.storage))
    verbs.resume(cluster, folder)
    return stay_attached(cluster, folder, detach, form, resumed_text(record))


@click.command(
    epilog=examples(
        "stoker extend @last --epochs 10",
        "stoker extend digits --epochs 5 --set training.optimizer.lr=1e-4",
        "stoker extend sweep --trials 20           20 more trials of a sweep",
        "stoker extend sweep.best --epochs 10      the best trial as a run of its own",
    )
)
@run_argument
@click.option("--epochs", type=click.IntRange(1, 1_000_000), help="Train this many more epochs.")
@click.option("--trials", type=click.IntRange(1, 100_000), help="Add this many trials to a sweep.")
@set_option
@detach_option
@format_option
@session_object
def extend(
    session: Session, run: str, epochs: int | None, trials: int | None, sets: tuple[str, ...], detach: bool, form: str
) -> int:
    """Train a finished run further, or a sweep with more trials.

    With --epochs a new run starts from the last weights of the run, with a new schedule over these epochs; the old run
    does not change. With --trials the sweep itself continues. Exit codes are those of `submit`.
    """
    if (epochs is None) == (trials is None):
        raise click.UsageError("either --epochs N trains a run further, or --trials N adds trials to a sweep")
    folder = session.find(run)
    cluster = session.cluster_of(folder)
    cluster.refresh(folder)
    if trials is not None:
        return _add_trials(session, cluster, folder, trials, sets, detach, form)
    if read_facts(folder):
        raise click.UsageError(
            f"{folder.path.name} is a sweep: --trials N adds trials to it, and "
            f"`stoker extend {folder.path.name}.best --epochs {epochs}` trains its best one further"
        )
    require_succeeded(folder)
    if folder.header().own_code:
        again = f"`stoker submit run:{folder.path.name} --set settings.NAME=VALUE` starts a new one"
        raise NotFound(f"{folder.path.name} runs own code, which says itself how long it trains; {again}")
    _require_checkpoint(folder)
    run_id = folder.path.name
    session = replace(session, storage=folder.header().storage)  # where its initial weights are
    length = (f"training.epochs={epochs}", "training.steps=null", "training.time=null")
    loaded = load(session, f"run:{run_id}", [*sets, *length])
    new = start(session, loaded, Origin(loaded.code, extends=run_id), form)
    return stay_attached(session.cluster_of(new), new, detach, form, started_text(new.record(), session.settings))


def resumed_text(record: RunRecord) -> str:
    """Return the text that names a resumed run and where it continues; `record` is from before the resume."""
    if sweep := read_sweep(record):
        return f"run {record.id} was {record.state}; it continues: {total_text(sweep)} trials have ended"
    where = "from the beginning"
    if record.status.checkpoint_step:
        where = f"from {checkpoint_text(record.status)}"
    elif record.state is State.INTERRUPTED:  # its driver was lost, maybe before it knew of a checkpoint
        where = "from its newest checkpoint, if it has one"
    return f"run {record.id} was {record.state}; it continues {where}"


def _add_trials(
    session: Session, cluster: Cluster, folder: RunFolder, trials: int, sets: tuple[str, ...], detach: bool, form: str
) -> int:
    facts, run = read_facts(folder), folder.path.name
    if facts is None:
        raise click.UsageError(f"{run} is not a sweep: --epochs N trains it further")
    if sets:
        raise click.UsageError("--set cannot change an existing sweep; `stoker submit` starts another one")
    if facts.trials is None:
        raise NotFound(f"{run} has no number of trials to add to: only a time ends it")
    header = folder.header()
    require_succeeded(folder)
    if header.tracking_uri and not header.cluster:
        require_tracking(session.settings.of_run(header.tracking_uri, header.storage))
    verbs.extend(cluster, folder, trials)
    return stay_attached(cluster, folder, detach, form, f"run {run} continues with {trials} more trials")


def _require_checkpoint(folder: RunFolder) -> None:
    """Raise for a trial whose checkpoints are gone: a sweep keeps only those of its best trials."""
    trial, kept = folder.path.name, folder.checkpoints
    if folder.sweep is None or folder.header().storage or (kept.is_dir() and any(kept.iterdir())):
        return
    again = f"`stoker submit run:{trial}` trains it again"
    raise NotFound(
        f"{trial} no longer has a checkpoint: its sweep keeps those of the best `sweep.keep` trials; {again}"
    )
