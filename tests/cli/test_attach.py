"""Watching a run: plain lines in a pipe, a bar on a terminal."""

import os
import pty
import signal
import subprocess
import sys
import threading

from stoker.cli.attach import attach
from stoker.clusters.local.cluster import LocalCluster
from stoker.settings import Settings, embedded_uri
from stoker.tracking.run import State

WATCH = """
import sys
from pathlib import Path
from stoker.cli.attach import attach
from stoker.clusters.local.cluster import LocalCluster
from stoker.settings import Settings
from stoker.tracking.run_folder import RunFolder
try:
    record = attach(LocalCluster(Settings(Path(sys.argv[1]), "")), RunFolder(Path(sys.argv[2])))
    print("ENDED", record.state)
except KeyboardInterrupt:
    print("LET GO")
"""


def epoch(number: int) -> dict[str, object]:
    metrics = {"loss/train": 1.0 / number, "accuracy/val": 0.5}
    place = {"epoch": number, "epochs": 3, "step": 10 * number, "steps": 30}
    return {"phase": "training", **place, "seconds_left": 5.0, "metrics": metrics}


def test_a_pipe_gets_plain_lines(home, make_run, drive, capsys):
    folder = make_run()
    driver = drive(folder)
    driver.tell(progress=epoch(1))
    end = threading.Timer(0.6, lambda: (driver.tell(status={"state": "SUCCEEDED"}), driver.end()))
    end.start()
    record = attach(LocalCluster(Settings(home, embedded_uri(home))), folder)
    end.join()
    shown = capsys.readouterr().out
    assert record.state is State.SUCCEEDED
    assert shown == "training  epoch 1/3, step 10/30, 5 s left  loss/train 1  accuracy/val 0.5\n"


def test_the_last_epoch_is_printed_even_if_the_run_ends_at_once(home, make_run, drive, capsys):
    folder = make_run()
    driver = drive(folder)
    driver.tell(progress=epoch(1))
    end = threading.Timer(0.4, lambda: (driver.tell(progress=epoch(3), status={"state": "SUCCEEDED"}), driver.end()))
    end.start()
    attach(LocalCluster(Settings(home, embedded_uri(home))), folder)
    end.join()
    first, last = capsys.readouterr().out.splitlines()
    assert "epoch 1/3" in first
    assert "epoch 3/3" in last


def watch_on_terminal(home, folder) -> tuple["subprocess.Popen[bytes]", int]:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"}
    process = subprocess.Popen(
        [sys.executable, "-c", WATCH, str(home), str(folder.path)], stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    return process, master


def read_until(master: int, word: bytes) -> bytes:
    seen = b""
    while word not in seen:
        try:
            piece = os.read(master, 4096)
        except OSError:  # the other side of a terminal is gone
            piece = b""
        if not piece:
            raise AssertionError(f"{word!r} never came: {seen!r}")
        seen += piece
    return seen


def test_a_terminal_gets_a_bar_that_goes_away(home, make_run, drive):
    folder = make_run()
    driver = drive(folder)
    driver.tell(progress=epoch(2))
    process, master = watch_on_terminal(home, folder)
    seen = read_until(master, b"epoch 2/3")
    assert b"\x1b[" in seen
    driver.tell(status={"state": "SUCCEEDED"})
    driver.end()
    read_until(master, b"ENDED SUCCEEDED")
    assert process.wait(10) == 0
    os.close(master)


def test_letting_go_leaves_the_run_alone(home, make_run, drive):
    folder = make_run()
    drive(folder).tell(progress=epoch(1))
    process, master = watch_on_terminal(home, folder)
    read_until(master, b"epoch 1/3")
    process.send_signal(signal.SIGINT)
    read_until(master, b"LET GO")
    assert process.wait(10) == 0
    assert folder.record().state is State.RUNNING
    os.close(master)
