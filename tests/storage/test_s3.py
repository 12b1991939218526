"""A bucket behind a bad line, a full one, a missing one, and one that lets nobody in."""

import hashlib
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import Cause, Damaged, NotFound, StorageError
from stoker.storage import Digest, S3Storage, commit, committed, read_file, read_manifest, remove

MIB = 1 << 20

PART_BYTES = 5 * MIB
"""The smallest that S3 takes."""

BEYOND_BOTOCORE = 7
"""More failures in a row than botocore's own retries bear."""


def uploads(client: Any) -> list[Any]:
    """Uploads that have neither ended nor been given up."""
    return list(client.list_multipart_uploads(Bucket="models").get("Uploads", []))


@pytest.fixture
def storage(bad_line: Any) -> S3Storage:
    """A bucket behind the line, seen with little patience."""
    return S3Storage("models", "team", part_bytes=PART_BYTES, patience_s=0.5)


@pytest.fixture
def strict_server(s3: Any, s3_server: str) -> Iterator[None]:
    """The server looks at credentials."""

    def let_in(requests: bytes) -> None:
        order = urllib.request.Request(f"{s3_server}/moto-api/reset-auth", requests, {"Content-Type": "text/plain"})
        with urllib.request.urlopen(order):
            pass

    let_in(b"0")
    yield
    let_in(b"inf")


def test_a_fifth_of_the_answers_spoiled_changes_nothing(bad_line: Any, s3: Any) -> None:
    storage = S3Storage("models", "team", part_bytes=PART_BYTES)
    draw = random.Random(0)
    sizes = [draw.randrange(200_000) for _ in range(50)] + [PART_BYTES - 1, PART_BYTES, 11 * MIB, 12 * MIB]
    objects = {f"run/{number}": draw.randbytes(size) for number, size in enumerate(sizes)}
    bad_line.spoil(seed=1, rate=0.2)

    with ThreadPoolExecutor(12) as threads:
        digests = dict(zip(objects, threads.map(lambda key: storage.put(key, [objects[key]]), objects), strict=True))
        contents = dict(zip(objects, threads.map(storage.get, objects), strict=True))
    keys = storage.keys("run")
    commit(storage, "run", digests, {"step": 1})
    manifest = read_manifest(storage, "run")

    assert contents == objects
    for key, content in objects.items():
        assert digests[key] == Digest(len(content), hashlib.sha256(content).hexdigest())
        assert s3.get_object(Bucket="models", Key=f"team/{key}")["Body"].read() == content
    assert keys == sorted(objects)
    assert manifest.files == digests
    remove(storage, "run")
    assert storage.keys("") == []
    assert uploads(s3) == []
    faults = {fault: times for fault, times in bad_line.seen.items() if fault}
    assert len(faults) == 5
    assert 0.15 < sum(faults.values()) / bad_line.seen.total() < 0.25


@pytest.mark.parametrize("fault", ["internal error", "answer lost"])
def test_an_outage_longer_than_botocores_retries_is_borne(bad_line: Any, fault: str) -> None:
    storage = S3Storage("models", "team", part_bytes=PART_BYTES)
    bad_line.spoil_first(BEYOND_BOTOCORE, fault, "PUT")

    storage.put("file", [b"content"])

    assert storage.get("file") == b"content"
    assert bad_line.seen[fault] == BEYOND_BOTOCORE


def test_an_answer_that_is_cut_is_asked_for_again(bad_line: Any) -> None:
    storage = S3Storage("models", "team", part_bytes=PART_BYTES)
    content = random.Random(0).randbytes(300_000)
    storage.put("file", [content])
    bad_line.spoil_first(BEYOND_BOTOCORE, "answer cut", "GET")

    assert storage.get("file") == content
    assert bad_line.seen["answer cut"] == BEYOND_BOTOCORE


def test_an_upload_whose_last_answer_is_lost_is_whole(bad_line: Any, s3: Any) -> None:
    storage = S3Storage("models", "team", part_bytes=PART_BYTES)
    ends = iter(["answer lost", "upload gone"])  # some servers forget an upload at once, and say so when asked again
    bad_line.rule = lambda method, path: next(ends, "") if method == "POST" and "uploadId=" in path else ""
    content = random.Random(0).randbytes(12 * MIB)

    storage.put("file", [content])

    assert bad_line.seen["upload gone"] == 1
    assert storage.get("file") == content
    assert uploads(s3) == []


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("refused", Cause.STORAGE_AUTH),
        ("full", Cause.DISK_FULL),
        ("internal error", Cause.INFRASTRUCTURE),
        ("unheard of", Cause.INFRASTRUCTURE),
    ],
)
def test_a_failed_upload_leaves_nothing(bad_line: Any, storage: S3Storage, s3: Any, fault: str, cause: Cause) -> None:
    storage.put("file", [b"old"])
    bad_line.rule = lambda _method, path: fault if "partNumber=2" in path else ""

    with pytest.raises(StorageError, match="s3://models/team/file") as caught:
        storage.put("file", [bytes(12 * MIB)])

    assert caught.value.cause is cause
    assert storage.get("file") == b"old"
    assert uploads(s3) == []


def test_what_a_killed_writer_left_goes_with_its_folder(bad_line: Any, storage: S3Storage, s3: Any) -> None:
    commit(storage, "run/1", {"file": storage.put("run/1/file", [b"x"])}, {})
    for key in ("team/run/1/half", "team/run/10/half"):
        begun = s3.create_multipart_upload(Bucket="models", Key=key)
        s3.upload_part(Bucket="models", Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"half")

    assert committed(storage, "run") == ["run/1"]
    assert storage.keys("") == ["run/1/file", "run/1/manifest.json"]
    remove(storage, "run/1")

    assert storage.keys("") == []
    assert [upload["Key"] for upload in uploads(s3)] == ["team/run/10/half"]


def test_an_upload_that_is_gone_already_is_not_asked_for_again(bad_line: Any, storage: S3Storage, s3: Any) -> None:
    s3.create_multipart_upload(Bucket="models", Key="team/run/1/half")
    requests: list[str] = []

    def lose_first(method: str, path: str) -> str:
        if method == "DELETE" and "uploadId=" in path:
            requests.append(path)
        return "answer lost" if len(requests) == 1 else ""

    bad_line.rule = lose_first
    remove(storage, "run/1")

    assert len(requests) == 2
    assert uploads(s3) == []


def test_who_may_not_see_uploads_may_remove_folders(bad_line: Any, storage: S3Storage) -> None:
    commit(storage, "run/1", {"file": storage.put("run/1/file", [b"x"])}, {})
    bad_line.rule = lambda _method, path: "refused" if "uploads" in path else ""

    remove(storage, "run/1")

    assert storage.keys("") == []
    assert bad_line.seen["refused"] == 1


def test_a_manifest_is_deleted_before_the_rest(bad_line: Any, storage: S3Storage) -> None:
    commit(storage, "run/1", {"file": storage.put("run/1/file", [b"x"])}, {})
    deletions: list[str] = []

    def note(method: str, path: str) -> str:
        deletions.extend([path.partition("?")[0]] if method == "DELETE" else [])
        return ""

    bad_line.rule = note
    remove(storage, "run/1")

    assert deletions == ["/models/team/run/1/manifest.json", "/models/team/run/1/file"]


def test_a_file_put_anew_is_damage(s3: Any, bucket_storage: Callable[[str], S3Storage]) -> None:
    storage = bucket_storage("team")
    commit(storage, "run/1", {"file": storage.put("run/1/file", [b"old"])}, {})
    manifest = read_manifest(storage, "run/1")
    storage.put("run/1/file", [b"new"])

    with pytest.raises(Damaged, match=r"s3://models/team/run/1/file .* its SHA-256"):
        read_file(storage, "run/1", manifest, "file")


def test_more_objects_than_a_page_are_listed(
    s3: Any, bucket_storage: Callable[[str], S3Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # the server of the tests reads it; S3 gives 1000
    for number in range(25):
        s3.put_object(Bucket="models", Key=f"run/{number:02}")
    s3.put_object(Bucket="models", Key="run/")  # what the console makes of a new folder

    assert s3.list_objects_v2(Bucket="models")["IsTruncated"]
    assert bucket_storage("").keys("run") == [f"run/{number:02}" for number in range(25)]


def test_a_listing_that_breaks_off_begins_anew(bad_line: Any, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    names = [f"run/{number:02}" for number in range(25)]
    for name in names:
        s3.put_object(Bucket="models", Key=f"team/{name}")
    broken = iter(range(BEYOND_BOTOCORE))
    bad_line.rule = lambda _method, path: (
        "internal error" if "continuation-token" in path and next(broken, None) is not None else ""
    )

    assert S3Storage("models", "team", part_bytes=PART_BYTES).keys("run") == names
    assert bad_line.seen["internal error"] == BEYOND_BOTOCORE


def test_strange_names_are_keys_too(s3: Any, bucket_storage: Callable[[str], S3Storage]) -> None:
    storage = bucket_storage("")
    for key in ("a b/ü+%41", "a b/x&y=z?#"):
        storage.put(key, [key.encode()])

    assert storage.keys("a b") == ["a b/x&y=z?#", "a b/ü+%41"]
    assert storage.get("a b/ü+%41").decode() == "a b/ü+%41"


def test_a_missing_bucket_is_named(s3: Any) -> None:
    storage = S3Storage("modles", "team")
    operations: list[Callable[[], object]] = [
        lambda: storage.put("file", [b"x"]),
        lambda: storage.get("file"),
        lambda: storage.keys("run"),
        lambda: storage.delete(["file"]),
    ]

    for operation in operations:
        with pytest.raises(StorageError, match=r"s3://modles/team/.*NoSuchBucket.*; name another bucket") as caught:
            operation()
        assert caught.value.cause is Cause.STORAGE_AUTH


def test_wrong_keys_are_named(strict_server: None) -> None:
    storage = S3Storage("models", "team")

    with pytest.raises(StorageError, match=r"s3://models/team/file: .*InvalidAccessKeyId.*; set AWS_ACC") as caught:
        storage.put("file", [b"x"])
    assert caught.value.cause is Cause.STORAGE_AUTH
    with pytest.raises(StorageError, match="InvalidAccessKeyId"):
        storage.get("file")


def test_a_refusal_is_no_absence(bad_line: Any, storage: S3Storage) -> None:
    bad_line.rule = lambda _method, _path: "refused"
    with pytest.raises(StorageError, match=r"s3://models/team/file: .*AccessDenied.*; allow this user") as caught:
        storage.get("file")
    assert caught.value.cause is Cause.STORAGE_AUTH
    bad_line.rule = lambda _method, _path: ""
    with pytest.raises(NotFound, match="s3://models/team/file does not exist"):
        storage.get("file")


def test_no_keys_at_all_are_named(s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))

    with pytest.raises(StorageError, match=r"s3://models/team/file: .*; set AWS_ACCESS_KEY_ID") as caught:
        S3Storage("models", "team").put("file", [b"x"])
    assert caught.value.cause is Cause.STORAGE_AUTH
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match=r"s3://models/team/: .*nobody.*; mend AWS_PROFILE") as caught:
        S3Storage("models", "team")
    assert caught.value.cause is Cause.STORAGE_AUTH


def test_a_name_that_no_bucket_can_have_is_named(s3: Any) -> None:
    with pytest.raises(StorageError, match="name another bucket") as caught:
        S3Storage("My Models", "").get("file")
    assert caught.value.cause is Cause.STORAGE_AUTH


def test_an_endpoint_that_is_no_url_is_named(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000 ")
    with pytest.raises(StorageError, match=r"Invalid endpoint: minio.*AWS_ENDPOINT_URL"):
        S3Storage("models", "")


def test_patience_with_a_dead_server_ends(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    storage = S3Storage("models", "team", patience_s=1)
    started = time.monotonic()

    with pytest.raises(StorageError, match=f"s3://models/team/file: .*{port}") as caught:
        storage.put("file", [b"x"])

    assert caught.value.cause is Cause.INFRASTRUCTURE
    assert time.monotonic() - started < 8


def test_nobody_waits_for_boto3_who_keeps_everything_in_a_folder() -> None:
    child = "import stoker.storage, sys; stoker.storage.open_storage('/a'); sys.exit('boto3' in sys.modules)"

    subprocess.run([sys.executable, "-c", child], check=True)
