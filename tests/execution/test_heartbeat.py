import os
import signal
import subprocess
import sys
from pathlib import Path

from stoker.execution.heartbeat import NOT_STARTED, Heartbeat, Stage, read_last_step

SOURCE = Path(__file__).parents[2] / "platform"
DIES = """
import sys, time
from pathlib import Path
from stoker.execution.heartbeat import Heartbeat
heartbeat = Heartbeat(Path(sys.argv[1]))
for step in range(1, 58):
    heartbeat.advance(0, step)
print("there", flush=True)
time.sleep(60)
"""


def test_a_dead_process_leaves_its_last_step(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", DIES, tmp_path / "step"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert process.stdout.readline() == "there\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert read_last_step(tmp_path / "step") == 57


def test_a_new_attempt_has_not_begun(tmp_path):
    assert read_last_step(tmp_path / "step") == NOT_STARTED
    heartbeat = Heartbeat(tmp_path / "step")
    heartbeat.advance(1, 7)
    heartbeat.close()
    assert read_last_step(tmp_path / "step") == 7
    Heartbeat(tmp_path / "step").close()
    assert read_last_step(tmp_path / "step") == NOT_STARTED


def test_a_beat_has_the_whole_state_and_every_event_is_a_tick():
    heartbeat = Heartbeat()
    before = heartbeat.beat()
    heartbeat.enter(Stage.TRAINING)
    heartbeat.advance(1, 7)
    heartbeat.checkpoint = (1, 5)
    after = heartbeat.beat()
    assert (after.stage, after.epoch, after.step, after.checkpoint) == (Stage.TRAINING, 1, 7, (1, 5))
    assert after.ticks == before.ticks + 2
    assert after.busy_s >= before.busy_s


def test_tokens_per_second_are_those_of_the_steps_since_the_last_sample():
    heartbeat = Heartbeat()
    assert heartbeat.tokens_per_s() == 0
    heartbeat.trained = (300, 2.0)
    assert heartbeat.tokens_per_s() == 150
    assert heartbeat.tokens_per_s() == 0  # an evaluation has no steps
    heartbeat.trained = (400, 2.5)
    assert heartbeat.tokens_per_s() == 200


def test_what_is_known_of_a_workers_steps_goes_into_its_samples():
    heartbeat = Heartbeat()
    assert heartbeat.work() == {}
    heartbeat.step_s, heartbeat.trained = 0.002, (900, 1.0)
    assert heartbeat.work() == {"step_work_milliseconds": 2.0, "tokens_per_second": 900.0}
    assert heartbeat.work() == {"step_work_milliseconds": 2.0}
