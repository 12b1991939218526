import os
import signal
import subprocess
import sys
from pathlib import Path

from stoker.execution.heartbeat import NOT_BEGUN, Pulse, Stage, last_step

SOURCE = Path(__file__).parents[2] / "platform"
DIES = """
import sys, time
from pathlib import Path
from stoker.execution.heartbeat import Pulse
pulse = Pulse(Path(sys.argv[1]))
for step in range(1, 58):
    pulse.at(0, step)
print("there", flush=True)
time.sleep(60)
"""


def test_a_dead_process_has_left_the_step_it_was_at(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", DIES, tmp_path / "step"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert process.stdout.readline() == "there\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert last_step(tmp_path / "step") == 57


def test_a_new_attempt_has_not_begun(tmp_path):
    assert last_step(tmp_path / "step") == NOT_BEGUN
    pulse = Pulse(tmp_path / "step")
    pulse.at(1, 7)
    pulse.end()
    assert last_step(tmp_path / "step") == 7
    Pulse(tmp_path / "step").end()
    assert last_step(tmp_path / "step") == NOT_BEGUN


def test_a_beat_tells_all_of_it_and_every_event_is_a_sign():
    pulse = Pulse()
    before = pulse.beat()
    pulse.enter(Stage.TRAINING)
    pulse.at(1, 7)
    pulse.checkpoint = (1, 5)
    after = pulse.beat()
    assert (after.stage, after.epoch, after.step, after.checkpoint) == (Stage.TRAINING, 1, 7, (1, 5))
    assert after.signs == before.signs + 2
    assert after.busy_s >= before.busy_s
