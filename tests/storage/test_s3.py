"""A bucket whose server or writer fails on the way."""

import hashlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stoker.errors import Cause, Damaged, StorageError
from stoker.storage import Digest, S3Storage, commit, committed, read_file, read_manifest, remove

MIB = 1 << 20

PART_BYTES = 5 * MIB
"""The minimum of S3."""

BEYOND_BOTOCORE = 7
"""More failures in a row than botocore retries."""


def uploads(client: Any) -> list[Any]:
    """Return the multipart uploads that are neither complete nor aborted."""
    return list(client.list_multipart_uploads(Bucket="models").get("Uploads", []))


@pytest.fixture
def storage(proxy: Any) -> S3Storage:
    """A bucket behind the proxy, with a short time for retries."""
    return S3Storage("models", "team", part_bytes=PART_BYTES, retry_s=0.5)


def test_faults_in_a_fifth_of_the_responses_change_nothing(proxy: Any, s3: Any) -> None:
    storage = S3Storage("models", "team", part_bytes=PART_BYTES)
    draw = random.Random(0)
    sizes = [draw.randrange(200_000) for _ in range(50)] + [PART_BYTES - 1, PART_BYTES, 11 * MIB, 12 * MIB]
    objects = {f"run/{number}": draw.randbytes(size) for number, size in enumerate(sizes)}
    proxy.fail_randomly(seed=1, rate=0.2)

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
    faults = {fault: times for fault, times in proxy.faults.items() if fault}
    assert len(faults) == 5
    assert 0.15 < sum(faults.values()) / proxy.faults.total() < 0.25


@pytest.mark.parametrize("fault", ["internal error", "response lost"])
def test_an_outage_longer_than_botocores_retries_is_survived(proxy: Any, fault: str) -> None:
    storage = S3Storage("models", "team", part_bytes=PART_BYTES)
    proxy.fail_first(BEYOND_BOTOCORE, fault, "PUT")

    storage.put("file", [b"content"])

    assert storage.get("file") == b"content"
    assert proxy.faults[fault] == BEYOND_BOTOCORE


def test_a_truncated_response_is_requested_again(proxy: Any) -> None:
    storage = S3Storage("models", "team", part_bytes=PART_BYTES)
    content = random.Random(0).randbytes(300_000)
    storage.put("file", [content])
    proxy.fail_first(BEYOND_BOTOCORE, "response truncated", "GET")

    assert storage.get("file") == content
    assert proxy.faults["response truncated"] == BEYOND_BOTOCORE


def test_an_upload_whose_last_response_is_lost_is_complete(proxy: Any, s3: Any) -> None:
    storage = S3Storage("models", "team", part_bytes=PART_BYTES)
    ends = iter(["response lost", "upload gone"])  # some servers forget an upload at once, and report that on a retry
    proxy.rule = lambda method, path: next(ends, "") if method == "POST" and "uploadId=" in path else ""
    content = random.Random(0).randbytes(12 * MIB)

    storage.put("file", [content])

    assert proxy.faults["upload gone"] == 1
    assert storage.get("file") == content
    assert uploads(s3) == []


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("refused", Cause.STORAGE_AUTH),
        ("full", Cause.DISK_FULL),
        ("internal error", Cause.INFRASTRUCTURE),
        ("unknown code", Cause.INFRASTRUCTURE),
    ],
)
def test_a_failed_upload_leaves_nothing(proxy: Any, storage: S3Storage, s3: Any, fault: str, cause: Cause) -> None:
    storage.put("file", [b"old"])
    proxy.rule = lambda _method, path: fault if "partNumber=2" in path else ""

    with pytest.raises(StorageError, match="s3://models/team/file") as caught:
        storage.put("file", [bytes(12 * MIB)])

    assert caught.value.cause is cause
    assert storage.get("file") == b"old"
    assert uploads(s3) == []


def test_unfinished_uploads_are_aborted_with_their_folder(proxy: Any, storage: S3Storage, s3: Any) -> None:
    commit(storage, "run/1", {"file": storage.put("run/1/file", [b"x"])}, {})
    for key in ("team/run/1/half", "team/run/10/half"):
        begun = s3.create_multipart_upload(Bucket="models", Key=key)
        s3.upload_part(Bucket="models", Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"half")

    assert committed(storage, "run") == ["run/1"]
    assert storage.keys("") == ["run/1/file", "run/1/manifest.json"]
    remove(storage, "run/1")

    assert storage.keys("") == []
    assert [upload["Key"] for upload in uploads(s3)] == ["team/run/10/half"]


def test_aborting_an_upload_that_is_already_gone_succeeds(proxy: Any, storage: S3Storage, s3: Any) -> None:
    s3.create_multipart_upload(Bucket="models", Key="team/run/1/half")
    requests: list[str] = []

    def lose_first(method: str, path: str) -> str:
        if method == "DELETE" and "uploadId=" in path:
            requests.append(path)
        return "response lost" if len(requests) == 1 else ""

    proxy.rule = lose_first
    remove(storage, "run/1")

    assert len(requests) == 2
    assert uploads(s3) == []


def test_a_user_without_the_right_to_list_uploads_can_remove_folders(proxy: Any, storage: S3Storage) -> None:
    commit(storage, "run/1", {"file": storage.put("run/1/file", [b"x"])}, {})
    proxy.rule = lambda _method, path: "refused" if "uploads" in path else ""

    remove(storage, "run/1")

    assert storage.keys("") == []
    assert proxy.faults["refused"] == 1


def test_a_manifest_is_deleted_before_the_rest(proxy: Any, storage: S3Storage) -> None:
    commit(storage, "run/1", {"file": storage.put("run/1/file", [b"x"])}, {})
    deletions: list[str] = []

    def note(method: str, path: str) -> str:
        deletions.extend([path.partition("?")[0]] if method == "DELETE" else [])
        return ""

    proxy.rule = note
    remove(storage, "run/1")

    assert deletions == ["/models/team/run/1/manifest.json", "/models/team/run/1/file"]


def test_an_overwritten_file_is_damaged(s3: Any, bucket_storage: Callable[[str], S3Storage]) -> None:
    storage = bucket_storage("team")
    commit(storage, "run/1", {"file": storage.put("run/1/file", [b"old"])}, {})
    manifest = read_manifest(storage, "run/1")
    storage.put("run/1/file", [b"new"])

    with pytest.raises(Damaged, match=r"s3://models/team/run/1/file .* its SHA-256"):
        read_file(storage, "run/1", manifest, "file")


def test_a_listing_of_several_pages_is_complete(
    s3: Any, bucket_storage: Callable[[str], S3Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # read by the test server; the default of S3 is 1000
    for number in range(25):
        s3.put_object(Bucket="models", Key=f"run/{number:02}")
    s3.put_object(Bucket="models", Key="run/")  # created by the console for a new folder

    assert s3.list_objects_v2(Bucket="models")["IsTruncated"]
    assert bucket_storage("").keys("run") == [f"run/{number:02}" for number in range(25)]


def test_an_interrupted_listing_is_restarted(proxy: Any, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    names = [f"run/{number:02}" for number in range(25)]
    for name in names:
        s3.put_object(Bucket="models", Key=f"team/{name}")
    broken = iter(range(BEYOND_BOTOCORE))
    proxy.rule = lambda _method, path: (
        "internal error" if "continuation-token" in path and next(broken, None) is not None else ""
    )

    assert S3Storage("models", "team", part_bytes=PART_BYTES).keys("run") == names
    assert proxy.faults["internal error"] == BEYOND_BOTOCORE


def test_keys_may_contain_special_characters(s3: Any, bucket_storage: Callable[[str], S3Storage]) -> None:
    storage = bucket_storage("")
    for key in ("a b/ü+%41", "a b/x&y=z?#"):
        storage.put(key, [key.encode()])

    assert storage.keys("a b") == ["a b/x&y=z?#", "a b/ü+%41"]
    assert storage.get("a b/ü+%41").decode() == "a b/ü+%41"
