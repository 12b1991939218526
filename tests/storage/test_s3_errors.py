"""Errors of a bucket that no retry can fix, and a server that never answers."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import Cause, NotFound, StorageError
from stoker.storage import S3Storage


@pytest.fixture
def storage(proxy: Any) -> S3Storage:
    """A bucket behind the proxy, with a short time for retries."""
    return S3Storage("models", "team", retry_s=0.5)


@pytest.fixture
def strict_server(s3: Any, s3_server: str) -> Iterator[None]:
    """Make the server check credentials."""

    def accept_unchecked(requests: bytes) -> None:
        request = urllib.request.Request(f"{s3_server}/moto-api/reset-auth", requests, {"Content-Type": "text/plain"})
        with urllib.request.urlopen(request):
            pass

    accept_unchecked(b"0")
    yield
    accept_unchecked(b"inf")


def test_a_missing_bucket_is_reported(s3: Any) -> None:
    storage = S3Storage("modles", "team")
    operations: list[Callable[[], object]] = [
        lambda: storage.put("file", [b"x"]),
        lambda: storage.get("file"),
        lambda: storage.keys("run"),
        lambda: storage.delete(["file"]),
    ]

    for operation in operations:
        with pytest.raises(StorageError, match=r"s3://modles/team/.*NoSuchBucket.*; choose another bucket") as caught:
            operation()
        assert caught.value.cause is Cause.STORAGE_AUTH


def test_wrong_credentials_are_reported(strict_server: None) -> None:
    storage = S3Storage("models", "team")

    with pytest.raises(StorageError, match=r"s3://models/team/file: .*InvalidAccessKeyId.*; set AWS_ACC") as caught:
        storage.put("file", [b"x"])
    assert caught.value.cause is Cause.STORAGE_AUTH
    with pytest.raises(StorageError, match="InvalidAccessKeyId"):
        storage.get("file")


def test_access_denied_differs_from_not_found(proxy: Any, storage: S3Storage) -> None:
    proxy.rule = lambda _method, _path: "refused"
    with pytest.raises(StorageError, match=r"s3://models/team/file: .*AccessDenied.*; allow this user") as caught:
        storage.get("file")
    assert caught.value.cause is Cause.STORAGE_AUTH
    proxy.rule = lambda _method, _path: ""
    with pytest.raises(NotFound, match="s3://models/team/file does not exist"):
        storage.get("file")


def test_missing_credentials_are_reported(s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))

    with pytest.raises(StorageError, match=r"s3://models/team/file: .*; set AWS_ACCESS_KEY_ID") as caught:
        S3Storage("models", "team").put("file", [b"x"])
    assert caught.value.cause is Cause.STORAGE_AUTH
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StorageError, match=r"s3://models/team/: .*nobody.*; correct AWS_PROFILE") as caught:
        S3Storage("models", "team")
    assert caught.value.cause is Cause.STORAGE_AUTH


def test_an_invalid_bucket_name_is_reported(s3: Any) -> None:
    with pytest.raises(StorageError, match="choose another bucket") as caught:
        S3Storage("My Models", "").get("file")
    assert caught.value.cause is Cause.STORAGE_AUTH


def test_an_invalid_endpoint_is_reported(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000 ")
    with pytest.raises(StorageError, match=r"Invalid endpoint: minio.*AWS_ENDPOINT_URL"):
        S3Storage("models", "")


def test_retries_of_a_dead_server_end(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    storage = S3Storage("models", "team", retry_s=1)
    started = time.monotonic()

    with pytest.raises(StorageError, match=f"s3://models/team/file: .*{port}") as caught:
        storage.put("file", [b"x"])

    assert caught.value.cause is Cause.INFRASTRUCTURE
    assert time.monotonic() - started < 8


def test_a_folder_does_not_import_boto3() -> None:
    child = "import stoker.storage, sys; stoker.storage.open_storage('/a'); sys.exit('boto3' in sys.modules)"

    subprocess.run([sys.executable, "-c", child], check=True)
