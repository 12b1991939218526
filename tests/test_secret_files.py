"""Secret files become environment variables."""

import os
import subprocess
import sys

from stoker.secret_files import load_secret_files


def test_each_file_becomes_a_variable(tmp_path, monkeypatch):
    (tmp_path / "STOKER_TEST_SECRET").write_text("a b\n")
    (tmp_path / "..data").mkdir()
    monkeypatch.setenv("STOKER_SECRETS", str(tmp_path))
    monkeypatch.setenv("STOKER_TEST_SECRET", "before")
    load_secret_files()
    assert os.environ["STOKER_TEST_SECRET"] == "a b"


def test_a_command_gets_the_variables_in_environment_and_arguments(tmp_path):
    (tmp_path / "DATABASE").write_text("sqlite:///x.db")
    command = [sys.executable, "-m", "stoker.secret_files", sys.executable, "-c"]
    command += ["import os, sys; print(os.environ['DATABASE'], sys.argv[1])", "--uri=$DATABASE"]
    environment = {**os.environ, "STOKER_SECRETS": str(tmp_path)}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert shown == "sqlite:///x.db --uri=sqlite:///x.db\n"
