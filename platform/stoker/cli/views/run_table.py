"""A table of runs, a row for each."""

from stoker.cli.views.formatting import age_text, duration_text
from stoker.cli.views.run_report import duration_s, main_metric, metrics_of
from stoker.cli.views.sweep import goals_text, read_sweep, total_text
from stoker.cli.views.tables import state_text, table_text
from stoker.tracking.run import RunRecord, now
from stoker.tracking.run_folder import RunFolder

HEAD = ("run", "state", "task", "family", "age", "duration", "attempts", "metric")
NUMBERS = ("age", "duration", "attempts")


def run_table(shown: list[tuple[RunFolder, RunRecord]]) -> str:
    """Return a table of runs; with a column of attempts if a run needed several."""
    rows = [_row(folder, record) for folder, record in shown]
    if all(record.status.attempt < 2 for _, record in shown):
        place = HEAD.index("attempts")
        return table_text([*HEAD[:place], *HEAD[place + 1 :]], [[*r[:place], *r[place + 1 :]] for r in rows], NUMBERS)
    return table_text(HEAD, rows, NUMBERS)


def _row(folder: RunFolder, record: RunRecord) -> list[str]:
    header, seconds = record.header, duration_s(record)
    return [
        header.id,
        state_text(record.state),
        header.task,
        header.family,
        age_text(now() - header.created),
        duration_text(seconds) if seconds is not None else "",
        str(record.status.attempt or ""),
        _result(folder, record),
    ]


def _result(folder: RunFolder, record: RunRecord) -> str:
    sweep = read_sweep(record)
    if sweep is None:
        return main_metric(record.header.task, metrics_of(record, folder.progress()))
    best = goals_text(sweep, sweep.best) if sweep.best else ""
    return ", ".join(filter(None, (best, f"{total_text(sweep)} trials")))
