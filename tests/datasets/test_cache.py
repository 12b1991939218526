"""The download cache: storage, sharing, damage and eviction."""

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.datasets.cache import Cache, local_path
from stoker.datasets.cache.blobs import Blob, Blobs
from stoker.datasets.cache.eviction import cached_sources, delete_views
from stoker.datasets.cache.views import views_in
from stoker.datasets.sources.https import HttpsSource
from stoker.datasets.sources.s3 import S3Source
from stoker.datasets.sources.schemes import open_source
from stoker.errors import Cause, ClusterError, JobError, StorageError
from stoker.settings import Settings

CONTENT = random.Random(1).randbytes(1 << 20)
TREE = {"pets/cats/1.png": b"cat", "pets/dogs/1.png": b"dog", "pets/dogs/2.png": b"cat"}
FETCH = """
import sys
from pathlib import Path
from stoker.datasets.cache import Cache
from stoker.datasets.sources.schemes import open_source
path = Cache(Path(sys.argv[1]), int(sys.argv[3])).local_path(open_source(sys.argv[2]))
print(path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def spawn(cache: Cache) -> Iterator:
    """Start a process that fetches a source, prints its path, and uses it until its input is closed."""
    started = []

    def start(source: str, limit: int = 1 << 30) -> subprocess.Popen:
        command = [sys.executable, "-c", FETCH, str(cache.folder), source, str(limit)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ends(process: subprocess.Popen) -> str:
    """Wait for a fetch and end its process; return the path."""
    path, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return path.strip()


def fetch(cache: Cache, url: str) -> Path:
    return cache.local_path(open_source(url))


def blobs(cache: Cache) -> list[Path]:
    return sorted(path for path in (cache.folder / "blobs").rglob("*") if path.is_file())


def leftovers(cache: Cache) -> list[Path]:
    return list((cache.folder / "partial").glob("*"))


def place(cache: Cache, content: bytes) -> Path:
    key = hashlib.sha256(content).hexdigest()
    return cache.folder / "blobs" / key[:2] / key


# Storage


def test_a_file_is_downloaded_once_and_keeps_its_name(cache, web):
    web.files["/data/x.csv"] = CONTENT
    path = fetch(cache, f"{web.url}/data/x.csv")
    assert (path.name, path.read_bytes()) == ("x.csv", CONTENT)
    assert fetch(cache, f"{web.url}/data/x.csv") == path
    assert len(web.gets()) == 1
    assert leftovers(cache) == []


def test_a_prefix_is_a_folder_in_its_own_layout(cache, put):
    put(TREE)
    folder = fetch(cache, "s3://datasets/pets/")
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {name.removeprefix("pets/"): content for name, content in TREE.items()}
    assert fetch(cache, "s3://datasets/pets/") == folder


def test_equal_content_is_stored_once_and_never_copied(cache, put, web):
    put(TREE)
    web.files["/cat.png"] = b"cat"
    folder, file = fetch(cache, "s3://datasets/pets/"), fetch(cache, f"{web.url}/cat.png")
    assert len(blobs(cache)) == 2
    inodes = {path.stat().st_ino for path in (folder / "cats/1.png", folder / "dogs/2.png", file)}
    assert inodes == {place(cache, b"cat").stat().st_ino}


def test_a_download_whose_content_has_just_arrived_leaves_the_file_that_others_link_to(tmp_path, monkeypatch):
    store, content = Blobs(tmp_path), b"cat"
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content))
    for name in ("first", "second"):
        (tmp_path / f"{name}.partial").write_bytes(content)
        store.commit(tmp_path / f"{name}.partial", blob, tmp_path / name)
        monkeypatch.setattr(
            "stoker.datasets.cache.blobs.is_intact", lambda *_: False
        )  # the second one looked too early
    files = (tmp_path / "first", tmp_path / "second", store.place(blob))
    assert len({path.stat().st_ino for path in files}) == 1
    assert not list(tmp_path.glob("*.partial"))


def test_only_the_changes_of_a_source_are_downloaded(cache, put, line):
    put(TREE)
    before = fetch(cache, "s3://datasets/pets/")
    put({"pets/cats/1.png": b"lynx"})
    line.asked.clear()
    after = fetch(cache, "s3://datasets/pets/")
    assert [path for method, path, _ in line.asked if path.endswith(".png")] == ["/datasets/pets/cats/1.png"]
    assert (after / "cats/1.png").read_bytes() == b"lynx"
    assert (before / "cats/1.png").read_bytes() == b"cat"  # readers of the old listing are not affected


def test_a_file_without_version_is_downloaded_each_time(cache, web):
    web.headers_off = {"ETag", "Last-Modified", "Content-Length"}
    for content in (b"one", b"two"):
        web.files["/x.csv"] = content
        assert fetch(cache, f"{web.url}/x.csv").read_bytes() == content


def test_known_content_with_a_checksum_is_not_downloaded_again(cache, web):
    web.files["/a.csv"] = CONTENT
    fetch(cache, f"{web.url}/a.csv")
    web.asked.clear()
    checksum = hashlib.sha256(CONTENT).hexdigest()
    assert fetch(cache, f"https://mirror.invalid/b.csv#sha256={checksum}").read_bytes() == CONTENT
    assert web.asked == []


def test_a_dataset_of_the_hub_is_cached_like_any_other(cache, hub):
    hub.add("data/a.csv", b"1")
    hub.add("data/b.csv", CONTENT, large=True)
    folder = fetch(cache, "hf://datasets/team/pets")
    assert (folder / "data/b.csv").read_bytes() == CONTENT
    hub.server.asked.clear()
    assert fetch(cache, "hf://datasets/team/pets") == folder
    assert not [path for path in hub.server.asked if "resolve" in path[1]]


# Paths


def test_local_paths_are_returned_unchanged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings(tmp_path / "home", "")
    Path("a.csv").write_text("1")
    for source, path in (("a.csv", "a.csv"), ("~/a.csv", f"{tmp_path}/a.csv"), (".", "."), ("no.csv", "no.csv")):
        assert local_path(source, settings) == Path(path)
    assert local_path("*.csv", settings) == tmp_path / "a.csv"
    assert not settings.data_cache.exists()


def test_a_pattern_is_a_folder_of_links(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(tmp_path / "home", "")
    for name in ("a.csv", "b.csv"):
        Path(name).write_text(name)
    folder = local_path("*.csv", settings)
    assert {path.name: path.readlink() for path in folder.iterdir()} == {
        "a.csv": tmp_path / "a.csv",
        "b.csv": tmp_path / "b.csv",
    }
    assert local_path("*.csv", settings) == folder


def test_the_cache_is_in_the_folder_of_the_environment(web, tmp_path, monkeypatch):
    web.files["/x.csv"] = b"1"
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "elsewhere"))
    assert local_path(f"{web.url}/x.csv").is_relative_to(tmp_path / "elsewhere")


# Errors


def test_names_that_leave_the_folder_are_refused(cache, put, tmp_path):
    put({"pets/../../../escaped": b"x"})
    with pytest.raises(
        JobError, match=r"'s3://datasets/pets/' lists '\.\./\.\./\.\./escaped', which leaves the folder"
    ):
        fetch(cache, "s3://datasets/pets/")
    assert not list(tmp_path.rglob("escaped"))


def test_a_wrong_checksum_is_refused_and_the_content_deleted(cache, web):
    web.files["/x.csv"] = CONTENT
    url = f"{web.url}/x.csv"
    expected = "0" * 64
    with pytest.raises(JobError) as caught:
        fetch(cache, f"{url}#sha256={expected}")
    found = hashlib.sha256(CONTENT).hexdigest()
    assert str(caught.value) == (
        f"dataset.source: '{url}' has the SHA-256 {found}, not {expected}; "
        "correct the checksum, or find out why the file is another one"
    )
    assert (blobs(cache), leftovers(cache)) == ([], [])


def test_a_vanished_object_is_reported_and_the_others_are_cached(cache, s3, put, line):
    put(TREE)
    source = S3Source("s3://datasets/pets/")
    files = source.files()
    source.files = lambda: files
    s3.delete_object(Bucket="datasets", Key="pets/dogs/1.png")
    with pytest.raises(JobError, match=r"pets/dogs/1\.png' vanished between listing and download"):
        cache.local_path(source)
    fetch(cache, "s3://datasets/pets/")  # the listing is another one now


def test_a_cache_that_cannot_be_created_is_reported(tmp_path, web):
    web.files["/x.csv"] = b"1"
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ClusterError, match=r"/x\.csv: the cache .*/cache cannot be used: .*set STOKER_CACHE"):
        fetch(Cache(tmp_path / "cache", 1 << 30), f"{web.url}/x.csv")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("only root may mount a disk of 1 MiB")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("known", [True, False], ids=["size is known", "size is unknown"])
def test_a_full_disk_is_reported_with_the_cache_and_the_cure(small_disk, web, known):
    web.files["/x.csv"] = CONTENT + CONTENT
    web.headers_off = set() if known else {"Content-Length"}
    with pytest.raises(StorageError) as caught:
        fetch(Cache(small_disk / "cache", 1 << 30), f"{web.url}/x.csv")
    assert caught.value.cause is Cause.DISK_FULL
    message = str(caught.value)
    assert message.startswith(f"no room in the cache {small_disk}/cache: {web.url}/x.csv ")
    assert "set STOKER_CACHE to a folder on a larger disk" in message
    assert len(web.gets()) == (0 if known else 1)
    assert not list((small_disk / "cache" / "partial").glob("*"))


def test_a_small_disk_is_reused(small_disk, web, spawn):
    disk = Cache(small_disk / "cache", 1 << 30)
    for number in range(4):
        web.files[f"/{number}.csv"] = random.Random(number).randbytes(600 << 10)
        command = [sys.executable, "-c", FETCH, str(disk.folder), f"{web.url}/{number}.csv", str(1 << 30)]
        subprocess.run(command, check=True, input="", text=True, capture_output=True)
    assert len(blobs(disk)) == 1


def test_a_file_size_limit_is_reported_like_a_full_disk(cache, web):
    web.files["/x.csv"] = CONTENT
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from stoker.cli.main import main
from stoker.datasets.cache import local_path
from stoker.errors import StorageError
try:
    local_path("{web.url}/x.csv")
except StorageError as error:
    print(error)
"""
    environment = {**os.environ, "STOKER_CACHE": str(cache.folder)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith(f"no room in the cache {cache.folder}: ")
    assert resource.getrlimit(resource.RLIMIT_FSIZE) != (100_000, 100_000)


# Damage


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "view gone"])
def test_damaged_content_is_downloaded_again(cache, web, damage):
    web.files["/x.csv"] = CONTENT
    path = fetch(cache, f"{web.url}/x.csv")
    kept = place(cache, CONTENT)
    kept.chmod(0o644)
    match damage:
        case "changed":
            with kept.open("r+b") as file:
                file.write(b"damage")
        case "cut":
            os.truncate(kept, 1000)
        case "gone":
            path.unlink()
            kept.unlink()
        case "view gone":
            path.unlink()
    again = fetch(cache, f"{web.url}/x.csv")
    assert again.read_bytes() == CONTENT
    assert place(cache, CONTENT).read_bytes() == CONTENT
    assert len(web.gets()) == (1 if damage == "view gone" else 2)


def test_touched_but_intact_content_is_kept(cache, web):
    web.files["/x.csv"] = CONTENT
    path = fetch(cache, f"{web.url}/x.csv")
    os.utime(path)
    fetch(cache, f"{web.url}/x.csv")
    fetch(cache, f"{web.url}/x.csv")
    assert len(web.gets()) == 1


def test_a_torn_line_of_the_index_is_skipped(cache, put, line):
    put(TREE)
    fetch(cache, "s3://datasets/pets/")
    (index,) = (cache.folder / "index").iterdir()
    index.write_bytes(index.read_bytes()[:-20])
    put({"pets/cats/2.png": b"new"})
    line.asked.clear()
    folder = fetch(cache, "s3://datasets/pets/")
    assert len([path for _, path, _ in line.asked if path.endswith(".png")]) == 2  # the new one, and the torn line's
    line.asked.clear()
    assert fetch(cache, "s3://datasets/pets/") == folder
    assert not [path for _, path, _ in line.asked if path.endswith(".png")]


def test_a_cache_that_was_deleted_by_hand_is_filled_again(cache, web):
    web.files["/x.csv"] = CONTENT
    fetch(cache, f"{web.url}/x.csv")
    subprocess.run(["rm", "-rf", cache.folder], check=True)
    assert fetch(cache, f"{web.url}/x.csv").read_bytes() == CONTENT
    assert cached_sources(cache.folder)[0].in_use


# Many processes


def test_many_processes_download_each_file_once(cache, put, line, spawn):
    put({f"many/{number}.bin": random.Random(number).randbytes(200 << 10) for number in range(12)})
    paths = {ends(process) for process in [spawn("s3://datasets/many/") for _ in range(4)]}
    (folder,) = paths
    asked = [path for method, path, _ in line.asked if path.endswith(".bin")]
    assert sorted(asked) == sorted(f"/datasets/many/{number}.bin" for number in range(12))
    for number in range(12):
        assert (Path(folder) / f"{number}.bin").read_bytes() == random.Random(number).randbytes(200 << 10)
    assert leftovers(cache) == []


def test_many_threads_download_a_file_once(cache, web):
    web.files["/x.csv"] = CONTENT
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(cache, f"{web.url}/x.csv"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(web.gets()) == 1


def test_a_killed_download_is_resumed_by_the_next(cache, web, spawn):
    web.files["/x.csv"] = CONTENT
    web.faults = [f"stall {len(CONTENT) // 2}"]
    process = spawn(f"{web.url}/x.csv")
    assert web.stalled.wait(30)
    deadline = time.monotonic() + 30
    while sum(path.stat().st_size for path in leftovers(cache)) < 1000:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    web.resume.set()
    path = fetch(cache, f"{web.url}/x.csv")
    assert path.read_bytes() == CONTENT
    first, second = web.gets()
    assert first == ""
    assert second.startswith("bytes=")
    assert leftovers(cache) == []


def test_a_process_that_waits_takes_over_from_a_killed_one(cache, web, spawn):
    web.files["/x.csv"] = CONTENT
    web.faults = [f"stall {len(CONTENT) // 2}"]
    process = spawn(f"{web.url}/x.csv")
    assert web.stalled.wait(30)
    found: list[Path] = []
    waiting = threading.Thread(target=lambda: found.append(fetch(cache, f"{web.url}/x.csv")))
    waiting.start()
    process.send_signal(signal.SIGKILL)
    process.wait()
    waiting.join(30)
    assert found[0].read_bytes() == CONTENT


def test_a_complete_download_that_was_not_committed_is_reused(cache, web):
    web.files["/x.csv"] = CONTENT
    source = HttpsSource(f"{web.url}/x.csv")
    (file,) = source.files()
    key = hashlib.sha256(f"{source.url}\0{file.name}\0{file.version}".encode()).hexdigest()
    partial = cache.folder / "partial" / key
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT)
    partial.chmod(0o444)
    assert cache.local_path(source).read_bytes() == CONTENT


def test_a_partial_download_of_other_content_is_replaced(cache, web):
    web.files["/x.csv"] = CONTENT
    checksum = hashlib.sha256(CONTENT).hexdigest()
    source = HttpsSource(f"{web.url}/x.csv#sha256={checksum}")
    (file,) = source.files()
    key = hashlib.sha256(f"{source.url}\0{file.name}\0{file.version}".encode()).hexdigest()
    partial = cache.folder / "partial" / key
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"something else")
    assert cache.local_path(source).read_bytes() == CONTENT


# Eviction


def test_the_least_recently_used_view_is_evicted_first(cache, web, spawn):
    size = 100 << 10
    for number in range(4):
        web.files[f"/{number}.bin"] = random.Random(number).randbytes(size)
    for number in (0, 1, 2, 0, 3):  # 1 is then the least recently used
        ends(spawn(f"{web.url}/{number}.bin", limit=3 * size))
    names = {each.source.rpartition("/")[2] for each in cached_sources(cache.folder)}
    assert names == {"0.bin", "2.bin", "3.bin"}
    assert len(blobs(cache)) == 3


def test_views_of_living_processes_stay_and_those_of_killed_ones_are_evicted(cache, web, spawn):
    size = 100 << 10
    for number in range(3):
        web.files[f"/{number}.bin"] = random.Random(number).randbytes(size)
    using = spawn(f"{web.url}/0.bin")
    path = Path(using.stdout.readline().strip())
    ends(spawn(f"{web.url}/1.bin", limit=size))
    assert path.stat().st_size == size
    using.kill()
    using.wait()
    ends(spawn(f"{web.url}/2.bin", limit=size))
    assert not path.exists()
    assert blobs(cache) == [place(cache, web.files["/2.bin"])]


def test_content_shared_with_another_source_stays(cache, web, spawn):
    web.files |= {"/a.bin": CONTENT, "/b.bin": CONTENT}
    ends(spawn(f"{web.url}/a.bin"))
    kept = fetch(cache, f"{web.url}/b.bin")
    freed, in_use = delete_views(cache.folder, views_in(cache.folder))
    assert (freed, len(in_use)) == (0, 1)
    assert kept.read_bytes() == CONTENT
    assert [each.source for each in cached_sources(cache.folder)] == [f"{web.url}/b.bin"]
    assert len(list((cache.folder / "index").iterdir())) == 1


def test_concurrent_deletion_and_fetching_leave_nothing_broken(cache, web, spawn):
    for number in range(3):
        web.files[f"/{number}.bin"] = random.Random(number).randbytes(100 << 10)
    running = [spawn(f"{web.url}/{number}.bin", limit=1) for _ in range(3) for number in range(3)]
    deadline = time.monotonic() + 60
    for process in running:
        process.stdin.close()
        process.stdin = None
    while any(process.poll() is None for process in running):
        delete_views(cache.folder, views_in(cache.folder))
        assert time.monotonic() < deadline
    assert [process.returncode for process in running] == [0] * 9
    delete_views(cache.folder, views_in(cache.folder))
    assert (blobs(cache), leftovers(cache), views_in(cache.folder)) == ([], [], [])
