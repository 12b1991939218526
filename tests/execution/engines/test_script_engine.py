"""A script runs as torchrun would start it; its end becomes the result of its worker."""

import json
import threading
import time

import pytest

from stoker.errors import Cause
from stoker.execution.data_cache import DataCache
from stoker.execution.engines.engine import Assignment, run_to_end
from stoker.execution.engines.script_engine import ScriptEngine, command_of
from stoker.execution.engines.table import engine_of
from stoker.execution.heartbeat import Heartbeat, Stage
from stoker.job.own_code import CodeJob
from stoker.jobfile.loading import load_job
from stoker.tracking.run import RunHeader
from stoker.tracking.run_folder import RunFolder

JOB = """
name: own
entrypoint: train.py --epochs 3
settings: {lr: 2e-5}
dataset: DATA
environment: {env: {COLOUR: red}}
tracking: none
"""


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    data = tmp_path / "data.csv"
    data.write_text("a\n1\n")
    run = RunFolder(tmp_path / "runs" / "own-1")
    run.create(RunHeader("own-1", "own", "train.py", "script", "", 1.0, 1, "", ""), JOB.replace("DATA", str(data)))
    run.code.mkdir()
    return run


def run(folder: RunFolder, script: str, heartbeat: Heartbeat | None = None, rank: int = 0, address: str = ""):
    (folder.code / "train.py").write_text(script)
    assignment = Assignment(folder, rank, 2 if address else 1, attempt=2)
    engine = engine_of(assignment, heartbeat or Heartbeat(), DataCache())
    assert isinstance(engine, ScriptEngine)
    return run_to_end(engine, address)


def test_a_script_finds_its_options_code_data_and_the_variables_of_torchrun(folder, tmp_path):
    (folder.code / "helper.py").write_text("value = 1")
    out = tmp_path / "out.json"
    found = "[sys.argv, dict(os.environ), os.getcwd()]"
    script = f"import os, sys, json, helper\nwith open({str(out)!r}, 'w') as file: json.dump({found}, file)"
    result = run(folder, script, rank=1, address="192.0.2.7:4711")
    assert (result.outcome, result.message, result.needs_all) == ("succeeded", "", True)
    arguments, variables, here = json.loads(out.read_text())
    assert arguments == ["train.py", "--epochs", "3", "--lr", "2e-05"]
    assert here == str(folder.code)
    expected = {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "192.0.2.7",
        "MASTER_PORT": "4711",
        "TORCHELASTIC_RESTART_COUNT": "1",
        "COLOUR": "red",
        "STOKER_RUN": "own-1",
        "STOKER_ATTEMPT": "2",
        "STOKER_DATASET": str(tmp_path / "data.csv"),
        "STOKER_CHECKPOINT_DIR": str(folder.checkpoints / "script"),
    }
    assert expected == {name: variables.get(name) for name in expected}


def test_the_resolved_job_is_written_by_the_first_worker(folder):
    run(folder, "")
    assert load_job(folder.resolved).job == load_job(folder.job).job


@pytest.mark.parametrize(
    ("script", "cause", "message", "lost"),
    [
        ("raise ValueError('no such layer')", Cause.USER_CODE, "exited with 1: ValueError: no such layer", False),
        ("import sys; sys.exit(3)", Cause.USER_CODE, "exited with 3", False),
        ("import sys; sys.exit('no data')", Cause.USER_CODE, "exited with 1: no data", False),
        ("import os; os.kill(os.getpid(), 9)", Cause.INFRASTRUCTURE, "was ended by SIGKILL", False),
        ("import os; os.kill(os.getpid(), 11)", Cause.USER_CODE, "was ended by SIGSEGV", False),
        ("raise MemoryError", Cause.OOM_HOST, "exited with 1: MemoryError", False),
        ("raise OSError(28, 'No space left on device')", Cause.DISK_FULL, "exited with 1: OSError: [Errno 28]", False),
        (
            "raise RuntimeError('[gloo/transport/tcp/pair.cc:534] Connection closed by peer [192.0.2.2]:1')",
            Cause.INFRASTRUCTURE,
            "exited with 1: RuntimeError: [gloo/",
            True,
        ),
    ],
)
def test_the_way_a_script_ends_tells_the_cause(folder, script, cause, message, lost):
    result = run(folder, script)
    assert (result.outcome, result.cause, result.lost_peers) == ("failed", cause, lost)
    assert result.message.startswith(f"train.py {message}")


def stopped(folder: RunFolder, script: str) -> tuple[str, float]:
    """Run a script, ask it to stop once it waits, and return the outcome and the seconds until it ended."""
    heartbeat, ready = Heartbeat(), folder.path / "ready"
    asked = []

    def stop() -> None:
        while not ready.exists():
            time.sleep(0.02)
        asked.append(time.monotonic())
        assert heartbeat.beat().stage is Stage.TRAINING
        heartbeat.request = "stop"

    threading.Thread(target=stop, daemon=True).start()
    wait = f"\nopen({str(ready)!r}, 'w').close()\nimport time\ntime.sleep(60)"
    outcome = run(folder, script + wait, heartbeat).outcome
    return outcome, time.monotonic() - asked[0]


def test_a_script_has_time_to_save_when_it_is_stopped(folder):
    save = "open(os.environ['STOKER_CHECKPOINT_DIR'] + '/saved', 'w').close(); raise SystemExit"
    script = f"import os, signal\ndef save(*_): {save}\nsignal.signal(signal.SIGTERM, save)"
    outcome, seconds = stopped(folder, script)
    assert outcome == "stopped"
    assert (folder.checkpoints / "script" / "saved").exists()
    assert seconds < 10


def test_a_script_that_does_not_stop_is_killed(folder, monkeypatch):
    monkeypatch.setattr("stoker.execution.engines.script_engine.STOP_GRACE_S", 0.5)
    outcome, seconds = stopped(folder, "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)")
    assert outcome == "stopped"
    assert seconds < 10


def test_settings_become_options():
    settings = {"lr": 0.1, "amp": True, "debug": False, "none": None, "layers": [1, 2], "name": "a b"}
    job = CodeJob.model_validate({"name": "a", "entrypoint": "train.py --x 'c d'", "settings": settings})
    assert command_of(job)[1:] == [
        *("train.py", "--x", "c d", "--lr", "0.1", "--amp", "--layers", "[1, 2]", "--name", "a b"),
    ]
