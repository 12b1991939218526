"""The built-in sensors: readings of a machine in three modes, some of them with a fault, drawn once by a seed."""

import numpy as np
import pandas as pd

from stoker.datasets.records import Records, table

ROWS = 2_000
SENSORS = 8
FAULTY = 0.1
"""Share of the rows in which a sensor does not show what the others do."""
MODES = ("idle", "pumping", "draining")
NORMAL, FAULT = "normal", "fault"


def sensors() -> Records:
    """Return the readings; a few are missing.

    Load and temperature decide all of them, in each mode in another way. The reading of a faulty sensor is that of
    another row: what it shows is usual, but not beside what the others show.
    """
    rng = np.random.default_rng(0)
    mode = rng.integers(0, len(MODES), ROWS)
    state = rng.normal(size=(ROWS, 2))
    weights, levels = rng.normal(size=(len(MODES), 2, SENSORS)), 2 * rng.normal(size=(len(MODES), SENSORS))
    readings = np.einsum("ns,nsk->nk", state, weights[mode]) + levels[mode] + 0.1 * rng.normal(size=(ROWS, SENSORS))
    faulty = rng.random(ROWS) < FAULTY
    for row in np.flatnonzero(faulty):
        wrong = rng.choice(SENSORS, 2, replace=False)
        readings[row, wrong] = readings[rng.integers(0, ROWS), wrong]
    readings[rng.random(readings.shape) < 0.005] = np.nan
    frame = pd.DataFrame(readings.round(3), columns=[f"sensor_{number}" for number in range(1, SENSORS + 1)])
    frame["mode"] = np.array(MODES, object)[mode]
    frame["state"] = np.where(faulty, FAULT, NORMAL)
    return table(frame, "state")
