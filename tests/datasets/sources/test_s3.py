"""Errors of a bucket, whose messages name the object and the cure."""

import socket
from pathlib import Path

import pytest

from stoker.datasets.sources.s3 import S3Source
from stoker.errors import Cause, JobError, StokerError, StorageError, Unreachable

RIGHTS = "access is denied; allow this user s3:ListBucket on the bucket and s3:GetObject on its objects"
CONTENT = bytes(range(256)) * 4096


def refusal(url: str, target: Path | None = None) -> StokerError:
    source = S3Source(url, patience_s=0)
    with pytest.raises(StokerError) as caught:
        source.fetch(source.files()[0], target or Path("unused"))
    return caught.value


def answers(line, status: int, code: str, headers: dict[str, str] | None = None, extra: str = "") -> None:
    """Make the server refuse every request in one way."""
    text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>on purpose</Message>{extra}</Error>'.encode()
    for path in ("/datasets", "/datasets/", "/datasets/pets/a.csv"):
        line.answers[path] = lambda _: (status, {"Content-Type": "application/xml", **(headers or {})}, text)


def test_a_key_is_one_file_and_a_prefix_is_a_folder(put):
    put({"pets/a.csv": b"1", "pets/deep/b.csv": b"22", "pets/": b"", "petshop.csv": b"3"})
    assert [(file.name, file.is_source) for file in S3Source("s3://datasets/pets/a.csv").files()] == [("a.csv", True)]
    for url in ("s3://datasets/pets/", "s3://datasets/pets"):
        files = S3Source(url).files()
        assert [(file.name, file.size, file.is_source) for file in files] == [
            ("a.csv", 1, False),
            ("deep/b.csv", 2, False),
        ]
    assert len(S3Source("s3://datasets").files()) == 3


def test_an_interrupted_download_resumes_where_it_stopped(put, line, tmp_path):
    put({"pets/a.csv": CONTENT})
    source = S3Source("s3://datasets/pets/a.csv")
    files = source.files()
    line.faults = ["cut"]
    source.fetch(files[0], target := tmp_path / "target")
    assert target.read_bytes() == CONTENT
    assert line.gets("/datasets/pets/a.csv") == ["", f"bytes={len(CONTENT) // 2}-"]


@pytest.mark.parametrize("fault", ["503", "500", "reset"])
def test_a_transient_failure_is_not_reported(put, line, tmp_path, fault):
    put({"pets/a.csv": CONTENT})
    source = S3Source("s3://datasets/pets/a.csv")
    files = source.files()
    line.faults = [fault]
    source.fetch(files[0], target := tmp_path / "target")
    assert target.read_bytes() == CONTENT


def test_a_download_that_is_always_interrupted_is_reported(put, line, tmp_path):
    put({"pets/a.csv": b"1"})  # half of one byte is nothing, so there is no progress
    line.always = "cut"
    source = S3Source("s3://datasets/pets/a.csv", patience_s=0)
    files = source.files()
    with pytest.raises(Unreachable, match=r"s3://datasets/pets/a\.csv: .*is the server up\?"):
        source.fetch(files[0], tmp_path / "target")


def test_a_missing_bucket_is_reported_with_its_server(s3, s3_server):
    error = refusal("s3://no-such-bucket/pets/")
    assert isinstance(error, JobError)
    assert str(error) == (
        f"dataset.source: 's3://no-such-bucket/pets/': there is no such bucket at {s3_server}; "
        "name another one, or the right server in AWS_ENDPOINT_URL"
    )
    assert "there is no such bucket" in str(refusal("s3://no-such-bucket/a.csv"))


@pytest.mark.parametrize("url", ["s3://datasets/nothing/", "s3://datasets/nothing.csv"])
def test_an_empty_prefix_is_reported(s3, url):
    error = refusal(url)
    assert isinstance(error, JobError)
    assert str(error) == f"dataset.source: there are no objects below '{url}'; correct the prefix or fill it"


def test_a_pattern_in_a_bucket_is_reported(s3):
    assert "patterns are for paths alone, name a prefix" in str(refusal("s3://datasets/pets/*.csv"))


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "AccessDenied", RIGHTS),
        (403, "InvalidAccessKeyId", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        (403, "SignatureDoesNotMatch", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        (400, "ExpiredToken", "renew the session's credentials"),
        (403, "RequestTimeTooSkewed", "set the clock of this machine"),
    ],
)
def test_denied_access_is_a_storage_error(line, status, code, message):
    check_denied(line, "s3://datasets/pets/", status, code, message)


def test_denied_access_to_one_object_is_reported_although_head_has_no_body(line):
    check_denied(line, "s3://datasets/pets/a.csv", 403, "AccessDenied", RIGHTS)


def check_denied(line, url, status, code, message):
    answers(line, status, code)
    error = refusal(url)
    assert isinstance(error, StorageError)
    assert error.cause is Cause.STORAGE_AUTH
    assert str(error).startswith(f"{url}: ")
    assert message in str(error)


def test_the_region_of_a_bucket_is_reported(line):
    answers(line, 301, "PermanentRedirect", {"x-amz-bucket-region": "eu-central-1"})
    error = refusal("s3://datasets/pets/")
    assert isinstance(error, StorageError)
    assert "the bucket is in another region, eu-central-1; set AWS_REGION to it" in str(error)
    answers(line, 400, "AuthorizationHeaderMalformed", extra="<Region>eu-west-3</Region>")
    assert "another region, eu-west-3; set" in str(refusal("s3://datasets/pets/"))


def test_missing_credentials_are_reported(s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    error = refusal("s3://datasets/pets/")
    assert isinstance(error, StorageError)
    assert str(error) == (
        "s3://datasets/pets/: Unable to locate credentials; "
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    )


def test_a_missing_profile_is_reported(s3, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in str(refusal("s3://datasets/pets/"))


def test_an_endpoint_that_does_not_answer_is_reported(s3, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    error = refusal("s3://datasets/pets/")
    assert isinstance(error, Unreachable)
    assert str(error).startswith("s3://datasets/pets/: ")
    assert f"is {endpoint} well, and AWS_ENDPOINT_URL right?" in str(error)


def test_an_invalid_endpoint_is_reported(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    assert "correct AWS_ENDPOINT_URL" in str(refusal("s3://datasets/pets/"))


def test_an_object_that_vanished_is_reported(s3, put, tmp_path):
    put({"pets/a.csv": b"1"})
    source = S3Source("s3://datasets/pets/")
    files = source.files()
    s3.delete_object(Bucket="datasets", Key="pets/a.csv")
    with pytest.raises(JobError, match=r"'s3://datasets/pets/a\.csv' vanished between listing and download; run again"):
        source.fetch(files[0], tmp_path / "target")


def test_an_object_that_was_replaced_is_reported(put, tmp_path):
    put({"pets/a.csv": b"1"})
    source = S3Source("s3://datasets/pets/")
    files = source.files()
    put({"pets/a.csv": b"2"})
    with pytest.raises(JobError, match=r"'s3://datasets/pets/a\.csv' was replaced between listing and download"):
        source.fetch(files[0], tmp_path / "target")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("s3://datasets/pets/", ""),
        ("s3://datasets", ""),
        ("s3://Old_Bucket/what?is#this", ""),
        ("s3://", "'s3://' names no bucket; write s3://BUCKET/PREFIX/ or s3://BUCKET/KEY"),
        ("s3:///pets", "'s3:///pets' names no bucket; write s3://BUCKET/PREFIX/ or s3://BUCKET/KEY"),
        ("s3://a b/c", "'a b' cannot be a bucket; write s3://BUCKET/PREFIX/ or s3://BUCKET/KEY"),
    ],
)
def test_the_syntax_is_checked_without_network(source, problem):
    assert S3Source.problem(source) == problem
