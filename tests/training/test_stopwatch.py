"""The time of a worker's own work."""

import time
from typing import Any

import pytest

from stoker.training import stopwatch
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.parallel import Workers
from stoker.training.preparation import prepare


@pytest.mark.usefixtures("one_thread")
def test_the_time_of_the_slow_worker_alone_is_long(make_job, in_workers, monkeypatch):
    monkeypatch.setattr(stopwatch, "STEPS", 10)
    prepared = prepare(make_job("tabular-classification", "iris", training={"batch_size": 50, "epochs": 10}))

    def work(workers: Workers) -> Any:
        state = start(assemble(prepared, workers))
        hook = state.assembly.objective.network.register_forward_pre_hook
        hook(lambda module, _: time.sleep(0.02) if workers.rank == 1 and module.training else None)
        for _ in train("r", state):
            pass
        return workers.stopwatch.step_s

    fast, slow, other = in_workers(3, work)
    assert slow >= 0.02
    assert max(fast, other) < slow / 1.5
