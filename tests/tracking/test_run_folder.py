import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stoker.errors import NotFound
from stoker.tracking.run import Progress, RunHeader, RunStatus, State
from stoker.tracking.run_folder import RunFolder, follow_lines
from stoker.tracking.run_lookup import find_run, list_runs

SOURCE = Path(__file__).parents[2] / "platform"
HOLD = """
import os, sys, time
from pathlib import Path
from stoker.tracking.run_folder import RunFolder
RunFolder(Path(sys.argv[1])).hold_lease(os.getpid())
print("held", flush=True)
sys.stdin.read()
"""


def make(home: Path, run_id: str, order: int) -> RunFolder:
    folder = RunFolder(home / "runs" / run_id)
    name = run_id.rpartition("-")[0]
    folder.create(RunHeader(run_id, name, "image-classification", "cnn", "digits", 1.0, order, "", ""), "task: x\n")
    return folder


@pytest.fixture
def driver():
    started = []

    def start(folder: RunFolder) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_run_without_a_word_and_without_a_driver_is_interrupted(tmp_path):
    assert make(tmp_path, "a-1", 1).record().state is State.INTERRUPTED


def test_a_run_with_a_live_driver_has_its_recorded_state(tmp_path, driver):
    folder = make(tmp_path, "a-1", 1)
    process = driver(folder)
    assert folder.record().state is State.STARTING
    folder.write_status(RunStatus(State.RUNNING))
    assert folder.record().state is State.RUNNING
    assert folder.driver_pid() == process.pid


def test_a_killed_driver_makes_it_interrupted_but_never_changes_a_final_state(tmp_path, driver):
    running, done = make(tmp_path, "a-1", 1), make(tmp_path, "b-1", 2)
    for folder, state in ((running, State.RUNNING), (done, State.SUCCEEDED)):
        folder.write_status(RunStatus(state))
        process = driver(folder)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert running.record().state is State.INTERRUPTED
    assert "its driver is gone" in running.record().status.message
    assert done.record().state is State.SUCCEEDED


def test_two_drivers_never_hold_one_run(tmp_path, driver):
    folder = make(tmp_path, "a-1", 1)
    driver(folder)
    with pytest.raises(BlockingIOError):
        folder.hold_lease(os.getpid())


def test_a_lease_given_away_outlives_the_giver(tmp_path):
    folder = make(tmp_path, "a-1", 1)
    lease = folder.hold_lease(os.getpid())
    copy = os.dup(lease)
    os.close(lease)
    assert folder.has_driver()
    os.close(copy)
    assert not folder.has_driver()


def test_runs_are_found_by_id_name_prefix_and_last(tmp_path):
    for number, run_id in enumerate(("digits-aaaa1111", "digits-bbbb2222", "iris-aaaa3333")):
        make(tmp_path, run_id, number)
    assert find_run(tmp_path, "@last").path.name == "iris-aaaa3333"
    assert find_run(tmp_path, "digits").path.name == "digits-bbbb2222"
    assert find_run(tmp_path, "digits-a").path.name == "digits-aaaa1111"
    assert find_run(tmp_path, "run:digits-aaaa1111").path.name == "digits-aaaa1111"
    with pytest.raises(NotFound, match="no run 'wine' \\(newest: iris-aaaa3333, digits-bbbb2222, digits-aaaa1111\\)"):
        find_run(tmp_path, "wine")
    with pytest.raises(NotFound, match="'digits-' could be digits-bbbb2222, digits-aaaa1111; type more of it"):
        find_run(tmp_path, "digits-")


def test_finding_a_run_in_an_empty_home_is_an_error(tmp_path):
    with pytest.raises(NotFound, match="nothing was submitted from"):
        find_run(tmp_path, "@last")


def test_damaged_and_foreign_folders_do_not_hide_the_others(tmp_path):
    whole = make(tmp_path, "a-1", 1)
    make(tmp_path, "b-1", 2)
    (tmp_path / "runs" / "b-1" / "run.json").write_text('{"id": "b-')
    (tmp_path / "runs" / "foreign").mkdir()
    assert [run.path.name for run in list_runs(tmp_path)] == ["a-1"]
    (whole.path / "state.json").write_text("")
    assert whole.record().state is State.INTERRUPTED


def test_what_a_newer_version_wrote_is_ignored(tmp_path):
    folder = make(tmp_path, "a-1", 1)
    folder.write_status(RunStatus(State.FAILED, cause="BAD_DATA"))
    path = folder.path / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trials": 3}))
    assert folder.status().cause == "BAD_DATA"


def test_progress_and_status_come_back_as_written(tmp_path):
    folder = make(tmp_path, "a-1", 1)
    progress = Progress("training", 1, 2, 3, 4, 5.0, {"loss/val": 0.5})
    status = RunStatus(State.SUCCEEDED, metrics={"accuracy/test": 1.0}, exit_code=0)
    folder.write_progress(progress)
    folder.write_status(status)
    assert (folder.progress(), folder.status()) == (progress, status)


def test_a_folder_is_made_whole_or_not_at_all(tmp_path):
    folder = make(tmp_path, "a-1", 1)
    with pytest.raises(OSError, match=r"not empty|exists"):
        folder.create(folder.header(), "other")
    assert folder.job.read_text() == "task: x\n"


def test_a_folder_whose_code_cannot_be_copied_leaves_nothing(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "a-1")
    header = RunHeader("a-1", "a", "image-classification", "cnn", "digits", 1.0, 1, "", "")
    with pytest.raises(FileNotFoundError):
        folder.create(header, "task: x\n", {"nets/model.py": tmp_path / "gone.py"})
    assert list((tmp_path / "runs").iterdir()) == []


def test_only_whole_lines_of_a_growing_file_are_read(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthr")
    lines = list(follow_lines(path))
    assert [line for line, _ in lines] == ["one", "two"]
    with path.open("ab") as file:
        file.write(b"ee\n")
    assert [line for line, _ in follow_lines(path, lines[-1][1])] == ["three"]


def test_a_state_of_a_newer_version_is_unknown_and_hides_nothing(tmp_path):
    folder = make(tmp_path, "a-1", 1)
    (folder.path / "state.json").write_text('{"state": "SLEEPING"}')
    assert folder.status().state is State.UNKNOWN
    (folder.path / "state.json").write_text('{"phase": "x"}')
    assert folder.status().state is State.UNKNOWN


def test_a_driver_waits_for_those_who_only_ask(tmp_path):
    folder = make(tmp_path, "a-1", 1)
    os.close(folder.hold_lease(os.getpid()))
    over = threading.Event()

    def ask():
        while not over.is_set():
            folder.has_driver()

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(200):
            os.close(folder.hold_lease(os.getpid()))
    finally:
        over.set()
        for thread in asking:
            thread.join()


def test_another_run_and_another_runs_trial_are_found_beside_a_run(tmp_path):
    run, trial = RunFolder(tmp_path / "iris-1"), RunFolder(tmp_path / "iris-1").trial(3)
    for folder in (run, trial):
        assert folder.beside("iris-1").path == run.path
        assert folder.beside("wine-2").path == tmp_path / "wine-2"
        assert folder.beside("iris-1.3").path == trial.path
        assert folder.beside("wine-2.0").path == tmp_path / "wine-2" / "trials" / "wine-2.0"


def test_more_trials_are_counted_from_nothing(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.more_trials() == 0
    folder.write_more_trials(20)
    assert folder.more_trials() == 20
