"""Detects overfitting from a run's metrics."""

from collections.abc import Mapping
from math import isfinite

from stoker.job.task import TASKS

GAP = 0.1
"""Difference of a share, such as accuracy, between the parts from which a note is given."""
RATIO = 1.5
"""The same for an error, as a ratio."""
CURES = {
    "image": "dataset.image.augment, more images, a larger weight_decay or a smaller network",
    "": "more data, a larger weight_decay, dropout or a smaller network",
}


def overfitting_note(task: str, metrics: Mapping[str, float]) -> str:
    """Return a note if the held-out samples do much worse than the training samples, otherwise an empty text.

    Args:
        task: of the run.
        metrics: of its weights, by names such as accuracy/train.

    """
    row = TASKS.get(task)  # type: ignore[call-overload]  # a name of a later version is unknown
    if row is None or not row.best:
        return ""
    held_out = next((part for part in ("val", "test") if f"{row.best}/{part}" in metrics), "")
    train, other = metrics.get(f"{row.best}/train"), metrics.get(f"{row.best}/{held_out}")
    if train is None or other is None or not (isfinite(train) and isfinite(other)):
        return ""
    drifted = train - other > GAP if row.metrics[row.best] == "max" else other > RATIO * train
    if not drifted:
        return ""
    cure = CURES["image" if row.inputs == ("image",) else ""]
    found = f"{row.best} is {train:.4g} on train and {other:.4g} on {held_out}: the run overfits"
    return f"{found}; what may help: {cure}"
