"""`logs` and `wait` on runs that live, rest, end and die."""

import json
import threading
import time

import pytest

from stoker.tracking.run import RunStatus, State


def test_logs_print_everything_and_the_unfinished_line(stoker, make_run, capsys):
    make_run(log="one\ntwo\nthr")
    assert stoker("logs", "digits") == 0
    assert capsys.readouterr().out == "one\ntwo\nthr\n"


@pytest.mark.parametrize(("lines", "expected"), [(2, "two\nthree\n"), (0, ""), (9, "one\ntwo\nthree\n")])
def test_logs_print_the_last_lines(lines, expected, stoker, make_run, capsys):
    make_run(log="one\ntwo\nthree\n")
    assert stoker("logs", "digits", "-n", lines) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--rank", 1), ["a", "b", "c"]),
        (("--rank", 1, "-n", 2), ["b", "c"]),
        (("--rank", 0), ["x"]),
        (("--rank", 2), []),
    ],
)
def test_logs_of_one_worker_are_its_lines_alone(more, expected, stoker, make_run, capsys):
    lines = ["(worker 1 pid=7) a", "the driver", "(worker 0 pid=6) x", "(worker 1 pid=7) b", "(worker 1 pid=8) c"]
    make_run(log="".join(f"{line}\n" for line in [*lines, "(worker 11 pid=9) y", "worker 1 is named"]))
    assert stoker("logs", "digits", *more) == 0
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines()] == expected


def test_logs_leave_out_what_ray_says_of_itself_unless_asked(stoker, make_run, capsys):
    folder = make_run()
    folder.log.write_text("one\n(raylet) a node is lost\n    more of it\ntwo\n")
    stoker("logs", "@last")
    assert capsys.readouterr().out == "one\ntwo\n"
    stoker("logs", "-n", "2", "@last")
    assert capsys.readouterr().out == "one\ntwo\n"
    stoker("logs", "--all", "-n", "2", "@last")
    assert capsys.readouterr().out == "    more of it\ntwo\n"


def test_logs_of_a_run_that_printed_nothing_are_empty(stoker, make_run, capsys):
    make_run()
    assert stoker("logs", "digits") == 0
    assert capsys.readouterr().out == ""


def test_logs_as_json_are_one_object_a_line(stoker, make_run, capsys):
    make_run(log="one\ntwo\n")
    assert stoker("logs", "digits", "-o", "json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"line": "one"}, {"line": "two"}]


def test_following_loses_and_repeats_nothing(spawn, make_run, drive):
    driver = drive(make_run())
    driver.tell(log="line 0\n")
    reader = spawn("logs", "-f", "digits")
    for number in range(1, 200):
        driver.tell(log=f"line {number}\n" if number % 2 else f"line {number}")
        if not number % 2:
            driver.tell(log="\n")
    driver.tell(log="the end", status={"state": "SUCCEEDED"})
    driver.end()
    shown, _ = reader.communicate(timeout=20)
    assert shown.splitlines() == [f"line {number}" for number in range(200)] + ["the end"]
    assert reader.returncode == 0


@pytest.mark.parametrize(
    ("state", "code"),
    [(State.SUCCEEDED, 0), (State.PAUSED, 0), (State.FAILED, 1), (State.CANCELLED, 1), (State.STARTING, 1)],
)
def test_wait_ends_as_the_run_did(state, code, stoker, make_run):
    make_run(status=RunStatus(state=state))
    assert stoker("wait", "digits") == code


def test_wait_waits_for_the_driver(stoker, make_run, drive):
    driver = drive(make_run())
    end = threading.Timer(0.5, lambda: (driver.tell(status={"state": "SUCCEEDED"}), driver.end()))
    end.start()
    before = time.monotonic()
    assert stoker("wait", "digits") == 0
    end.join()
    assert time.monotonic() - before >= 0.4


def test_wait_ends_when_the_driver_is_killed(stoker, make_run, drive, capsys):
    driver = drive(make_run())
    end = threading.Timer(0.3, driver.kill)
    end.start()
    assert stoker("wait", "digits") == 1
    end.join()
    assert "INTERRUPTED" in capsys.readouterr().out


def test_wait_gives_up_with_its_own_code(stoker, make_run, drive, capsys):
    drive(make_run())
    assert stoker("wait", "digits", "--timeout", "0.3s") == 5
    assert "is still RUNNING" in capsys.readouterr().err


def test_a_wrong_length_of_time_is_bad_input(stoker, make_run, capsys):
    make_run()
    assert stoker("wait", "digits", "--timeout", "soon") == 2
    assert "examples: 90s, 10m, 2h" in capsys.readouterr().err


def test_wait_shows_the_end_of_a_failure(stoker, make_run, capsys):
    make_run(
        status=RunStatus(state=State.FAILED, cause="BAD_DATA", message="no pictures"), log="loading\nno pictures\n"
    )
    assert stoker("wait", "digits") == 1
    shown = capsys.readouterr().out
    assert "BAD_DATA: no pictures" in shown
    assert "cure: fix the data that the message names" in shown
    assert "  | loading" in shown


def test_wait_as_json_describes_the_run(stoker, make_run, capsys):
    make_run(status=RunStatus(state=State.FAILED, cause="BAD_DATA", message="no pictures"))
    assert stoker("wait", "digits", "-o", "json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["cause"], shown["turn"]) == ("FAILED", "BAD_DATA", "edit the job or its data")
