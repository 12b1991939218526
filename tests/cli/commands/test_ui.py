"""`ui`: links, and a real MLflow server that starts and ends with the command."""

import json
import os
import signal
import socket

import pytest

from stoker.cli.mlflow_links import LiveUi, live_ui, ui_file
from stoker.cli.mlflow_server import free_port, server_command
from stoker.settings import Settings, embedded_uri, without_password
from stoker.tracking.health import health_error
from stoker.tracking.run import RunStatus, State

PAGE = "/#/experiments/7/runs/abc?workflowType=machine_learning"


def test_nothing_recorded_is_not_found(stoker, capsys):
    assert stoker("ui") == 3
    assert "nothing recorded yet" in capsys.readouterr().err


def test_a_run_without_a_record_has_no_page(stoker, make_run, capsys):
    make_run(status=RunStatus(state=State.SUCCEEDED), tracking_uri="")
    assert stoker("ui", "digits") == 3
    assert "tracking: none" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_unreachable(stoker, make_run):
    make_run(status=RunStatus(url=PAGE), tracking_uri=f"http://127.0.0.1:{free_port(20000)}")
    assert stoker("ui", "digits") == 4


def test_a_taken_port_gives_the_next():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"port": 1, "pid": 0, "uri": "x"}', '{"port": "a"}'])
def test_a_stale_note_is_no_ui(note, home):
    home.mkdir()
    ui_file(home).write_text(note)
    assert live_ui(home, "x") is None


def test_the_ui_of_another_store_is_not_ours(home):
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        note = {"port": listening.getsockname()[1], "pid": os.getpid(), "uri": "sqlite:////mine.db"}
        ui_file(home).write_text(json.dumps(note))
        assert live_ui(home, "sqlite:////mine.db") == LiveUi(**note)
        assert live_ui(home, "sqlite:////other.db") is None


def test_the_ui_of_a_store_with_a_password_is_found_without_it(home):
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        note = {"port": listening.getsockname()[1], "pid": os.getpid(), "uri": "postgresql://db/mlflow"}
        ui_file(home).write_text(json.dumps(note))
        assert live_ui(home, "postgresql://me:secret@db/mlflow") == LiveUi(**note)


def test_passwords_stay_out_of_the_process_list(home):
    assert "secret" not in " ".join(server_command(Settings(home, "postgresql://me:secret@db/mlflow"), 5000))


def test_passwords_stay_out_of_links():
    assert without_password("https://me:secret@host:5000/mlflow/") == "https://host:5000/mlflow"


def test_the_ui_lives_as_long_as_the_command(spawn, stoker, home, make_run, capsys):
    make_run(status=RunStatus(state=State.SUCCEEDED, url=PAGE))
    (home / "mlflow.db").touch()
    process = spawn("ui", "--port", free_port(21000), "--no-browser", "-o", "json")
    shown = json.loads("".join(process.stdout.readline() for _ in range(5)))
    base = f"http://127.0.0.1:{shown['port']}"
    assert shown["url"] == f"{base}/#/experiments/7/runs?workflowType=machine_learning"
    assert health_error(base) == ""
    assert live_ui(home, embedded_uri(home)) == LiveUi(shown["port"], shown["pid"], embedded_uri(home))
    assert stoker("status", "digits") == 0
    assert base + PAGE in capsys.readouterr().out
    assert stoker("ui", "digits", "--no-browser") == 0  # the one that is up is used
    assert capsys.readouterr().out == f"MLflow: {base}{PAGE}\n"

    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (0, "")
    assert not ui_file(home).exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(shown["pid"], 0)
