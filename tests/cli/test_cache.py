"""`cache ls` and `cache rm`, on a cache filled from a real server."""

import functools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stoker.datasets.cache.views import views_in

FETCH = "import sys; from stoker.datasets.cache import local_path; local_path(sys.argv[1]); sys.stdin.read()"


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv").write_text("x,y\n1,2\n")
    (folder / "b.csv").write_text("x,y\n" * 1000)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def kept(server: str, home: Path) -> list[str]:
    """Two sources in the cache that no process uses."""
    sources = [f"{server}/a.csv", f"{server}/b.csv"]
    for source in sources:
        fetch(home, source).communicate(timeout=60)
    return sources


def fetch(home: Path, source: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "STOKER_HOME": str(home)}
    return subprocess.Popen([sys.executable, "-c", FETCH, source], env=environment, stdin=subprocess.PIPE)


def listed(stoker, capsys) -> list[dict]:
    capsys.readouterr()
    assert stoker("cache", "ls", "-o", "json") == 0
    return json.loads(capsys.readouterr().out)


def test_ls_of_an_empty_cache_shows_its_location(stoker, home, capsys):
    assert stoker("cache", "ls") == 0
    assert capsys.readouterr().out == f"nothing is kept in {home}/cache/data yet\n"


def test_the_last_used_source_is_listed_first(stoker, kept, capsys):
    assert stoker("cache", "ls") == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["source", "files", "size", "last", "used"]
    assert first.split()[:4] == [kept[1], "1", "3.9", "KiB"]
    assert second.split()[:4] == [kept[0], "1", "8", "bytes"]
    found = listed(stoker, capsys)
    assert [(each["source"], each["files"], each["bytes"], each["in_use"]) for each in found] == [
        (kept[1], 1, 4000, False),
        (kept[0], 1, 8, False),
    ]
    assert all(abs(time.time() - each["last_used"]) < 60 for each in found)


def test_one_source_is_deleted(stoker, kept, home, capsys):
    assert stoker("cache", "rm", kept[1]) == 0
    assert capsys.readouterr().out == f"deleted 1 of 1, 3.9 KiB freed in {home}/cache/data\n"
    assert [each["source"] for each in listed(stoker, capsys)] == [kept[0]]


def test_everything_is_deleted(stoker, kept, home, capsys):
    assert stoker("cache", "rm", "--all") == 0
    assert listed(stoker, capsys) == []
    assert [path for path in (home / "cache" / "data").rglob("*") if path.is_file() and path.name != "gate"] == []


def test_what_was_used_since_stays(stoker, kept, home, capsys):
    old = min(views_in(home / "cache" / "data"), key=lambda view: view.last_used_s())
    os.utime(old.path / "lease", (time.time() - 40 * 86400,) * 2)
    assert stoker("cache", "rm", "--unused-for", "30d") == 0
    assert [each["source"] for each in listed(stoker, capsys)] == [kept[1]]


def test_what_a_process_uses_stays(stoker, kept, home, capsys, until):
    using = fetch(home, kept[0])
    until(lambda: any(view.in_use() for view in views_in(home / "cache" / "data")), "the process to use its source")
    assert stoker("cache", "rm", kept[0]) == 1
    assert f"kept {kept[0]}: a running process uses it" in capsys.readouterr().err
    assert [each["in_use"] for each in listed(stoker, capsys) if each["source"] == kept[0]] == [True]
    using.communicate(timeout=60)
    assert stoker("cache", "rm", kept[0]) == 0


def test_plan_downloads_into_the_home_and_locates_a_wrong_address(stoker, server, home, tmp_path, capsys):
    (tmp_path / "files" / "c.csv").write_text("x,y\n" + "0.5,a\n1.5,b\n" * 20)
    job = tmp_path / "job.yaml"
    job.write_text(f"task: tabular-classification\ndataset:\n  source: {server}/c.csv\n  columns: {{label: y}}\n")
    assert stoker("plan", job) == 0
    assert [each["source"] for each in listed(stoker, capsys)] == [f"{server}/c.csv"]
    assert "STOKER_HOME" not in os.environ
    job.write_text(job.read_text().replace("/c.csv", "/no.csv"))
    assert stoker("plan", job) == 2
    message = f"there is no '{server}/no.csv' (404 File not found); correct the address"
    assert "3:11" in (shown := capsys.readouterr().err)
    assert message in shown


def test_a_source_that_is_not_kept_is_not_found(stoker, kept, capsys):
    assert stoker("cache", "rm", "s3://bucket/x/") == 3
    assert "nothing of 's3://bucket/x/' is kept; `stoker cache ls` lists what is" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["x", "--all"], ["--all", "--unused-for", "1d"]])
def test_what_is_meant_must_be_said_once(stoker, arguments, capsys):
    assert stoker("cache", "rm", *arguments) == 2
    assert "name one of SOURCE, --all and --unused-for TIME" in capsys.readouterr().err


def test_a_length_of_time_has_a_unit_that_is_known(stoker, capsys):
    assert stoker("cache", "rm", "--unused-for", "2 moons") == 2
    assert "'2 moons' is not a duration" in capsys.readouterr().err


def test_the_config_file_sets_the_location_and_size_of_the_cache(stoker, tmp_path, capsys):
    config = tmp_path / "config" / "stoker" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"cache: {tmp_path}/elsewhere\ncache_size: 2TiB\n")
    assert stoker("cache", "ls") == 0
    assert f"{tmp_path}/elsewhere" in capsys.readouterr().out
    config.write_text("cache_size: big\n")
    assert stoker("cache", "ls") == 2
    assert "'big' is not a size (examples: 500MiB, 50GiB, 2TiB)" in capsys.readouterr().err
