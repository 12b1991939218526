"""A profile has the steps that were asked for; a run that is too short for it says so."""

import gzip
import json

import pytest
import torch

from stoker.execution.engines.step_profiler import StepProfiler


@pytest.fixture
def profiled(tmp_path, monkeypatch, capfd):
    """Take steps with a profile; return the number of steps in the trace, and what is said of it."""
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")  # otherwise the profiler sets it, for good

    def run(steps: int, asked: int) -> tuple[int, list[str]]:
        profiler = StepProfiler(asked, tmp_path / "profile")
        for _ in range(steps):
            torch.ones(3, 3) @ torch.ones(3, 3)
            profiler.step()
        profiler.close()
        said = capfd.readouterr().err.splitlines()
        trace = tmp_path / "profile" / "trace.json.gz"
        if not trace.exists():
            return 0, said
        assert "aten::mm" in (tmp_path / "profile" / "operators.txt").read_text()
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
        return sum(event.get("name") == "aten::mm" for event in events), said

    return run


@pytest.mark.parametrize(("steps", "asked", "recorded"), [(30, 5, 5), (20, 50, 8)])
def test_a_trace_has_the_steps_asked_for_as_far_as_there_are_any(profiled, tmp_path, steps, asked, recorded):
    trace = tmp_path / "profile" / "trace.json.gz"
    assert profiled(steps, asked) == (recorded, [f"profile of steps 13 to {12 + recorded}: {trace}"])


def test_a_run_that_is_too_short_says_so(profiled):
    assert profiled(12, 5) == (0, ["no profile: it begins with step 13, the attempt has only 12"])
