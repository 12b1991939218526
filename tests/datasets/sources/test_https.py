"""Downloads over an unreliable connection, and errors that name the address and the cure."""

import hashlib
import random
import re
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stoker.datasets.sources.https import HttpsSource
from stoker.datasets.sources.source import RemoteFile
from stoker.errors import Cause, ClusterError, JobError, StokerError, StorageError, Unreachable

CONTENT = random.Random(0).randbytes(3 << 20)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def fetched(web: Any, target: Path, patience_s: float = 20.0, checksum: str = "") -> bytes:
    web.files.setdefault("/x.bin", CONTENT)
    source = HttpsSource(f"{web.url}/x.bin{checksum}", patience_s)
    (file,) = source.files()
    web.asked.clear()
    source.fetch(file, target)
    return target.read_bytes()


def refusal(web: Any, target: Path, url: str = "") -> StokerError:
    source = HttpsSource(url or f"{web.url}/x.bin", patience_s=0)
    with pytest.raises(StokerError) as caught:
        source.fetch(source.files()[0], target)
    return caught.value


def test_an_interrupted_download_resumes_where_it_stopped(web, target):
    web.faults = ["cut"]
    assert fetched(web, target) == CONTENT
    assert web.gets() == ["", f"bytes={len(CONTENT) // 2}-"]


def test_a_file_that_changed_after_the_interruption_is_fetched_from_the_start(web, target):
    web.files["/x.bin"] = CONTENT
    (file,) = (source := HttpsSource(f"{web.url}/x.bin")).files()
    target.write_bytes(CONTENT[:1000])
    web.files["/x.bin"] = changed = CONTENT[::-1]
    source.fetch(file, target)
    assert target.read_bytes() == changed


def test_a_server_that_ignores_range_sends_everything_again(web, target):
    web.ranges = False
    web.faults = ["cut"]
    assert fetched(web, target) == CONTENT
    assert len(web.gets()) == 2


def test_a_server_that_ignores_if_range_does_not_mix_versions(web, target):
    web.files["/x.bin"] = CONTENT
    (file,) = (source := HttpsSource(f"{web.url}/x.bin")).files()
    target.write_bytes(CONTENT[:1000])
    changed = CONTENT[::-1]
    other = {"ETag": '"other"'}
    parts = iter([(206, {**other, "Content-Range": f"bytes 1000-{len(changed) - 1}/{len(changed)}"}, changed[1000:])])
    web.answers["/x.bin"] = lambda _: next(parts, (200, other, changed))
    source.fetch(file, target)
    assert target.read_bytes() == changed


def test_a_complete_target_is_fetched_again_at_most_once(web, target):
    target.write_bytes(CONTENT)
    assert fetched(web, target) == CONTENT
    assert len(web.gets()) == 2  # the server answers a range beyond the end with 416


@pytest.mark.parametrize("fault", ["500", "503", "429", "reset"])
def test_a_transient_failure_is_not_reported(web, target, fault):
    web.faults = [fault, fault]
    assert fetched(web, target) == CONTENT
    assert len(web.gets()) == 3


def test_without_etag_and_date_an_interrupted_download_restarts(web, target):
    web.headers_off = {"ETag", "Last-Modified"}
    web.faults = ["cut"]
    assert fetched(web, target) == CONTENT
    assert web.gets() == ["", ""]


def test_with_a_checksum_no_validator_is_needed_to_resume(web, target):
    web.headers_off = {"ETag", "Last-Modified"}
    web.faults = ["cut"]
    assert fetched(web, target, checksum=f"#sha256={hashlib.sha256(CONTENT).hexdigest()}") == CONTENT
    assert web.gets() == ["", f"bytes={len(CONTENT) // 2}-"]


def test_a_server_that_does_not_know_the_length_is_read_to_its_end(web, target):
    web.headers_off = {"Content-Length"}
    assert fetched(web, target) == CONTENT


def test_a_version_is_the_strongest_identifier_of_the_server(web):
    web.files["/x.bin"] = b"abc"
    source = HttpsSource(f"{web.url}/x.bin")
    versions = []
    for missing in ("", "ETag", "Last-Modified", "Content-Length"):
        web.headers_off.add(missing)
        versions.append(source.files()[0].version.partition(":")[0])
    assert versions == ["etag", "modified", "size", ""]


def test_with_a_checksum_no_server_is_asked_for_the_listing(web):
    checksum = "ab" * 32
    source = HttpsSource(f"{web.url}/x.csv#sha256={checksum.upper()}")
    expected = RemoteFile("x.csv", None, f"sha256:{checksum}", checksum, is_source=True)
    assert (source.files(), web.asked) == ([expected], [])


def test_an_address_that_only_accepts_get_is_listed(web):
    web.answers["/x.bin"] = lambda _: (200, {"ETag": '"1"'}, b"abc")
    get = web.answers["/x.bin"]
    methods = iter([(405, {}, b"")])
    web.answers["/x.bin"] = lambda body: next(methods, get(body))
    assert HttpsSource(f"{web.url}/x.bin").files()[0].version == 'etag:"1"'


def test_messages_and_versions_contain_no_password(web):
    web.always = "403"
    url = web.url.replace("http://", "http://me:secret@") + "/x.bin?token=secret"
    source = HttpsSource(url, 0)
    error = refusal(web, Path("unused"), url)
    assert "secret" not in f"{error} {source.shown} {source.url.partition('?')[0]}"
    assert "/x.bin: access is denied" in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        ("404", JobError, r"there is no 'http://.*/x\.bin' \(404 Not Found\); correct the address"),
        ("410", JobError, r"there is no 'http://.*/x\.bin'"),
        ("403", StorageError, r"/x\.bin: access is denied \(403 Forbidden\); correct the user, password or token"),
        ("401", StorageError, r"/x\.bin: access is denied \(401"),
        ("400", JobError, r"'http://.*/x\.bin' is refused \(400 Bad Request\)"),
        ("500", Unreachable, r"/x\.bin: the server answers 500 Internal Server Error; is the server up"),
    ],
)
def test_a_refusal_has_its_kind_of_error(web, target, status, kind, message):
    web.always = status
    error = refusal(web, target)
    assert type(error) is kind
    with pytest.raises(kind, match=message):
        raise error
    if isinstance(error, StorageError):
        assert error.cause is Cause.STORAGE_AUTH


@pytest.mark.parametrize("status", ["403", "404"])
def test_a_refusal_is_not_retried(web, target, status):
    web.files["/x.bin"] = CONTENT
    (file,) = (source := HttpsSource(f"{web.url}/x.bin")).files()
    web.always = status
    with pytest.raises(StokerError):
        source.fetch(file, target)
    assert len(web.gets()) == 1


def test_a_download_that_is_always_interrupted_is_reported_with_both_sizes(web, target):
    web.files["/x.bin"] = b"1"  # half of one byte is nothing, so there is no progress
    web.always = "cut"
    error = refusal(web, target)
    assert isinstance(error, Unreachable)
    assert re.search(r"/x\.bin: .*0 .*1 .*; is the server up, and the address right\?", str(error)), error
    print(error)


def test_a_missing_server_is_reported(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refusal(None, target, f"http://127.0.0.1:{port}/x.bin")
    assert isinstance(error, Unreachable)
    assert f"http://127.0.0.1:{port}/x.bin: " in str(error)
    assert "refused" in str(error)


def test_an_unknown_host_is_reported(target):
    error = refusal(None, target, "https://no-such-host.invalid/x.bin")
    assert isinstance(error, Unreachable)
    assert "no-such-host.invalid" in str(error)


def test_an_untrusted_certificate_is_reported(web, target, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    error = refusal(web, target, f"https://localhost:{web.server_port}/x.bin")
    assert isinstance(error, ClusterError)
    assert "certificate is not trusted; name its certificate authority in REQUESTS_CA_BUNDLE" in str(error)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("https://host/x.csv", ""),
        ("http://localhost:8000/data/x.csv?signature=a%20b", ""),
        (f"https://host/x.csv#sha256={'0a' * 32}", ""),
        ("https:///x.csv", "'https:///x.csv' is not an address; write https://HOST/FILE"),
        ("https://host:x/y.csv", "'https://host:x/y.csv' is not an address; write https://HOST/FILE"),
        ("https://host/a b.csv", "'https://host/a b.csv' is not an address; write https://HOST/FILE"),
        ("https://host/x#sha256=abc", "'#sha256=abc' is not a checksum; write #sha256= and 64 hexadecimal digits"),
        ("https://host/x#md5=abc", "'#md5=abc' is not a checksum; write #sha256= and 64 hexadecimal digits"),
    ],
)
def test_the_syntax_is_checked_without_network(source, problem):
    assert HttpsSource.problem(source) == problem
