"""`trials`: list the trials of a sweep."""

import click

from stoker.cli.session import Session, examples, format_option, run_argument, session_object
from stoker.cli.views.sweep import COUNTED, Sweep, best_text, counts_text, require_sweep, trial_json
from stoker.cli.views.tables import print_json, terminal_width
from stoker.cli.views.trials_table import trials_table

SHOWN = 20
BY_NUMBER = "number"


@click.command(
    epilog=examples(
        "stoker trials @last                          the best trials of the newest run",
        "stoker trials digits --sort accuracy/test    by another metric",
        "stoker trials digits --sort number           in the order in which they started",
        "stoker trials digits --state failed          those that have failed, and why",
        "stoker trials digits -n 1000 -o json         all of them, for another program",
    )
)
@run_argument
@click.option("--sort", metavar="METRIC", help="Any recorded metric, or `number`.  [default: the goal of the sweep]")
@click.option("-n", "--newest", "shown", type=click.IntRange(min=1), default=SHOWN, show_default=True, help="How many.")
@click.option(
    "--state",
    type=click.Choice([str(state) for state in COUNTED], case_sensitive=False),
    help="Only trials in this state.",
)
@format_option
@session_object
def trials(session: Session, run: str, sort: str | None, shown: int, state: str | None, form: str) -> None:
    """List the trials of a sweep, the best first.

    Each trial is a run: `stoker status RUN.3` shows trial 3, and `RUN.best` is the best one.
    """
    folder = session.find(run)
    session.cluster_of(folder).refresh(folder)
    sweep = require_sweep(folder)
    metrics = [*sweep.facts.goals]
    if sort and sort != BY_NUMBER:
        require_metric(sweep, sort)
        metrics = [*dict.fromkeys([*metrics, sort])]
    found = [*sweep.trials] if sort == BY_NUMBER else sweep.sorted(sort or sweep.facts.metric)
    found = [trial for trial in found if state is None or sweep.state(trial) == state]
    if form == "json":
        print_json([trial_json(sweep, trial) for trial in found[:shown]])
        return
    click.echo(counts_text(sweep))
    if sweep.best and found[:1] != [sweep.best]:
        click.echo(f"best: {best_text(sweep)}")
    if found:
        click.echo("\n" + trials_table(sweep, found[:shown], metrics, terminal_width()))
    if len(found) > shown:
        click.echo(f"... and {len(found) - shown} more; -n {len(found)} shows all")


def require_metric(sweep: Sweep, metric: str) -> None:
    """Check that a metric was recorded.

    Raises:
        BadParameter: it was not.

    """
    if metric not in (known := sweep.metrics()):
        raise click.BadParameter(f"'{metric}' is not one of {BY_NUMBER}, {', '.join(known)}", param_hint="'--sort'")
