"""A trace of a few steps by torch's profiler, to be opened at ui.perfetto.dev or chrome://tracing."""

import os
import sys
from pathlib import Path

from torch.profiler import profile, schedule

WAIT, WARM_UP = 9, 3
"""Steps before the recorded ones: the first steps allocate and compile; the profiler's own first steps are slow."""
FIRST = WAIT + WARM_UP + 1
"""The first recorded step, counted from 1."""
ROWS = 40
"""Operators in the table."""


class StepProfiler:
    """Records steps of this process from the thirteenth on, once.

    Args:
        steps: number of recorded steps.
        folder: receives `trace.json.gz`, and `operators.txt` with the time of each operator.

    """

    def __init__(self, steps: int, folder: Path) -> None:
        self._steps = steps
        self._folder = folder
        self._done = 0
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its library tells of each start, and of missing GPUs
        plan = schedule(wait=WAIT, warmup=WARM_UP, active=steps, repeat=1)
        self._profile = profile(schedule=plan, on_trace_ready=self._write, record_shapes=True, acc_events=True)
        self._profile.start()

    def step(self) -> None:
        """Note the end of a step."""
        self._done += 1
        self._profile.step()

    def close(self) -> None:
        """Write what is recorded, if the run ends before all steps are; say so if nothing is."""
        self._profile.stop()
        if self._done < FIRST:
            message = f"no profile: it begins with step {FIRST}, the attempt has only {self._done}"
            print(message, file=sys.stderr)  # noqa: T201 - the run's log

    def _write(self, recorded: profile) -> None:
        if self._done < FIRST:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        trace = self._folder / "trace.json.gz"
        recorded.export_chrome_trace(str(trace))
        table = recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=ROWS)
        (self._folder / "operators.txt").write_text(table, encoding="utf-8")
        last = min(self._done, FIRST + self._steps - 1)
        print(f"profile of steps {FIRST} to {last}: {trace}", file=sys.stderr)  # noqa: T201 - the run's log
