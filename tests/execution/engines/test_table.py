"""The engine of a run is the one that its task names; a run without a readable job fails as any other failure."""

from typing import get_args

import pytest

from stoker.errors import Cause
from stoker.execution.data_cache import DataCache
from stoker.execution.engines.engine import Assignment, run_to_end
from stoker.execution.engines.table import ENGINES, engine_of
from stoker.execution.engines.torch_engine import TorchEngine
from stoker.execution.heartbeat import Heartbeat
from stoker.execution.sweeps.trial_attempt import train_in_process
from stoker.job.task import TASKS, EngineName
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder

JOB = "task: tabular-classification\ndataset: xor\n"


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    run = RunFolder(tmp_path / "runs" / "a-1")
    run.create(RunHeader("a-1", "a", "tabular-classification", "mlp", "xor", 1.0, 1, "", ""), JOB)
    return run


def test_every_engine_that_a_task_may_name_is_in_the_table():
    assert set(ENGINES) == set(get_args(EngineName))
    assert {row.engine for row in TASKS.values()} <= set(ENGINES)


def test_a_run_gets_the_engine_of_its_task(folder):
    assert isinstance(engine_of(Assignment(folder, 0, 1, 1), Heartbeat(), DataCache()), TorchEngine)


@pytest.mark.parametrize("broken", ["job", "resolved"])
def test_a_job_that_cannot_be_loaded_fails_the_attempt(folder, broken):
    getattr(folder, broken).write_text("task: [\n")
    engine = engine_of(Assignment(folder, 0, 1, 1), Heartbeat(), DataCache())
    result = run_to_end(engine, "")
    assert (result.outcome, result.cause, engine.costs) == ("failed", Cause.BAD_DATA, {})
    assert result.message.startswith("not YAML")
    with pytest.raises(StopIteration) as end:
        next(train_in_process(folder, 1, Heartbeat(), DataCache()))
    assert end.value.value == result
