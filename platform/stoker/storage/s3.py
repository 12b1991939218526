"""Objects in an S3 bucket, or on any S3-compatible server (AWS_ENDPOINT_URL).

boto3 transfers large objects in several parts at a time, and aborts a failed multipart upload. botocore retries a
failed request, but only for seconds and within a quota. An operation that still fails with a transient error is
therefore retried as a whole for up to `RETRY_S` seconds.
"""

import hashlib
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from random import SystemRandom  # does not use the global generator, which a job's own code may have seeded
from typing import Any, TypeVar

from stoker.errors import Cause, NotFound, StokerError, StorageError
from stoker.storage.objects import Chunks, Digest, Storage, checked_key, pieces

PART_BYTES = 16 << 20
"""Objects of at least this size are transferred in parts of this size."""

RETRY_S = 120.0
"""Seconds after its first failure in which an operation is retried; a server that does not respond can add `ATTEMPTS`
times `TIMEOUT_S` before and after."""

ATTEMPTS = 5
"""Number of times that botocore sends a request before the whole operation is retried."""

TIMEOUT_S = 15.0
"""Seconds to wait for a connection or a response."""

LONGEST_WAIT_S = 16.0
"""Maximum of the exponential backoff between two attempts."""

_Result = TypeVar("_Result")
_EMPTY = memoryview(b"")

_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_RIGHTS = "allow this user to list the bucket and to get, put and delete its objects"
_NAME = "choose another bucket or create this one; AWS_ENDPOINT_URL selects the server"
_SPACE = "delete objects or raise the quota"
_LOGIN = "log in again: aws sso login"

_PERMANENT: dict[str, tuple[Cause, str]] = {
    # error codes of a server; the response to a HEAD request has only the status
    "401": (Cause.STORAGE_AUTH, _KEYS),
    "403": (Cause.STORAGE_AUTH, _RIGHTS),
    "507": (Cause.DISK_FULL, _SPACE),
    "AccessDenied": (Cause.STORAGE_AUTH, _RIGHTS),
    "ExpiredToken": (Cause.STORAGE_AUTH, "renew the session's token"),
    "InvalidAccessKeyId": (Cause.STORAGE_AUTH, _KEYS),
    "InvalidBucketName": (Cause.STORAGE_AUTH, _NAME),
    "NoSuchBucket": (Cause.STORAGE_AUTH, _NAME),
    "QuotaExceeded": (Cause.DISK_FULL, _SPACE),  # Ceph
    "RequestTimeTooSkewed": (Cause.STORAGE_AUTH, "set the clock of this machine"),
    "SignatureDoesNotMatch": (Cause.STORAGE_AUTH, _KEYS),
    "XMinioAdminBucketQuotaExceeded": (Cause.DISK_FULL, _SPACE),
    "XMinioStorageFull": (Cause.DISK_FULL, _SPACE),
    # exceptions before a request is sent
    "CredentialRetrievalError": (Cause.STORAGE_AUTH, _KEYS),
    "NoCredentialsError": (Cause.STORAGE_AUTH, _KEYS),
    "ParamValidationError": (Cause.STORAGE_AUTH, _NAME),
    "PartialCredentialsError": (Cause.STORAGE_AUTH, _KEYS),
    "ProfileNotFound": (Cause.STORAGE_AUTH, "correct AWS_PROFILE"),
    "SSOTokenLoadError": (Cause.STORAGE_AUTH, _LOGIN),
    "TokenRetrievalError": (Cause.STORAGE_AUTH, _LOGIN),
    "UnauthorizedSSOTokenError": (Cause.STORAGE_AUTH, _LOGIN),
    "ValueError": (Cause.STORAGE_AUTH, "correct AWS_ENDPOINT_URL"),
}
"""Cause and cure of errors that are not retried."""

_TRANSIENT = {
    "0",  # no response, or a truncated one
    "408",
    "409",  # a concurrent request to the same object
    "429",
    "500",
    "502",
    "503",  # also SlowDown
    "504",
    "NoSuchUpload",  # the upload may have completed and its response been lost
    "RequestTimeout",  # S3 sends it with status 400
}
"""Codes and statuses of errors that are retried; unknown ones are not."""

_NOT_FOUND = {"NoSuchKey", "404"}


class S3Storage(Storage):
    """A bucket with a prefix for all keys; credentials come from boto3's usual sources."""

    def __init__(self, bucket: str, prefix: str, part_bytes: int = PART_BYTES, retry_s: float = RETRY_S) -> None:
        # imported late: boto3 and a client take a second, which users of a folder do not wait for
        from boto3.exceptions import Boto3Error
        from boto3.s3.transfer import TransferConfig
        from boto3.session import Session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
        from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError, S3ValidationError

        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._retry_s = retry_s
        self._failures = (
            BotoCoreError,
            Boto3Error,
            ClientError,
            RetriesExceededError,  # several responses were truncated
            S3DownloadFailedError,  # the object was replaced during the download
            S3ValidationError,
        )
        self._transfer = TransferConfig(multipart_threshold=part_bytes, multipart_chunksize=part_bytes)
        settings = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            response_checksum_validation="when_required",  # readers verify SHA-256; saves a HEAD before each GET
        )
        try:
            self._client: Any = Session().client("s3", config=settings)
        except (*self._failures, ValueError) as error:  # ValueError: the endpoint is not a URL
            raise self._storage_error("", error) from error

    def put(self, key: str, chunks: Chunks) -> Digest:
        """Upload an object; a multipart upload is not visible before it is complete."""

        def upload() -> Digest:
            body = _HashingReader(chunks)
            self._client.upload_fileobj(body, self._bucket, self._key(key), Config=self._transfer)
            return Digest(body.size, body.sha256.hexdigest())

        return self._retry(key, upload)

    def get(self, key: str) -> bytes:
        """Download an object; all parts of a large one have the same version."""

        def download() -> bytes:
            body = BytesIO()
            self._client.download_fileobj(self._bucket, self._key(key), body, Config=self._transfer)
            return body.getvalue()

        return self._retry(key, download)

    def download(self, key: str, path: Path) -> None:
        """Download an object; the file appears once it is complete."""
        fetch = partial(self._client.download_file, self._bucket, self._key(key), str(path), Config=self._transfer)
        self._retry(key, fetch)

    def keys(self, prefix: str) -> list[str]:
        """Return all keys below a prefix, without the empty objects that some tools create as folders."""
        below = f"{self._key(prefix)}/" if prefix else self._prefix
        found = self._list("list_objects_v2", "Contents", below, prefix)
        keys = (str(entry["Key"]).removeprefix(self._prefix) for entry in found)
        return sorted(key for key in keys if not key.endswith("/"))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects one by one: a request for many has no defined order."""
        for key in keys:
            self._retry(key, partial(self._client.delete_object, Bucket=self._bucket, Key=self._key(key)))

    def clear(self, prefix: str) -> None:
        """Delete the objects, and abort unfinished uploads of killed processes if they can be listed."""
        self.delete(self.keys(prefix))
        with suppress(StorageError):  # unfinished uploads do no harm, and few users may list them
            for upload in self._list("list_multipart_uploads", "Uploads", f"{self._key(prefix)}/", prefix):
                self._retry(prefix, partial(self._abort_upload, upload))

    def url(self, key: str) -> str:
        """Return the s3:// address."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _key(self, key: str) -> str:
        return self._prefix + checked_key(key)

    def _list(self, operation: str, entries: str, below: str, prefix: str) -> list[dict[str, Any]]:
        """Return the entries of all pages of a listing."""
        pages = self._client.get_paginator(operation)
        # each attempt starts at the first page: a failed iterator would continue after the pages it has yielded
        result = self._retry(prefix, lambda: pages.paginate(Bucket=self._bucket, Prefix=below).build_full_result())
        return list(result.get(entries, ()))

    def _abort_upload(self, upload: dict[str, Any]) -> None:
        with suppress(self._client.exceptions.NoSuchUpload):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def _retry(self, key: str, operation: Callable[[], _Result]) -> _Result:
        """Return the result of an operation; transient errors are retried until the time for retries is over."""
        end, longest_s = 0.0, 1.0
        while True:
            try:
                return operation()
            except self._failures as error:
                wait_s = SystemRandom().uniform(0, longest_s)
                end = end or time.monotonic() + self._retry_s  # from the first failure: an upload may take hours
                if not _is_transient(error) or time.monotonic() + wait_s > end:
                    raise self._storage_error(key, error) from error
            time.sleep(wait_s)
            longest_s = min(2 * longest_s, LONGEST_WAIT_S)

    def _storage_error(self, key: str, error: Exception) -> StokerError:
        """Return our error for one of a server or of boto3, with its cause and cure."""
        code, url = _error_code(error), self.url(key)
        if code in _NOT_FOUND:
            return NotFound(f"{url} does not exist")
        unknown = Cause.INFRASTRUCTURE, "check that its server works"
        cause, cure = _PERMANENT.get(code) or _PERMANENT.get(_status(error)) or unknown
        reason = getattr(error, "last_exception", error)  # boto3 wraps the last of several
        return StorageError(cause, f"{url}: {reason}; {cure}")


class _HashingReader:
    """An object as a file for boto3, which is hashed while it is read."""

    def __init__(self, chunks: Chunks) -> None:
        self._pieces = pieces(chunks)
        self._rest = _EMPTY
        self.size = 0
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return exactly `size` bytes, fewer only at the end; all remaining ones if it is negative."""
        taken: list[memoryview] = []
        missing = size if size >= 0 else sys.maxsize
        while missing and (piece := self._rest or next(self._pieces, _EMPTY)):
            taken.append(piece[:missing])
            self._rest = piece[missing:]
            missing -= len(taken[-1])
        data = b"".join(taken)
        self.size += len(data)
        self.sha256.update(data)
        return data


def _error_code(error: Exception) -> str:
    """Return the error code of a server's response, or the name of the exception if there is none."""
    response: dict[str, Any] | None = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if response else type(error).__name__


def _status(error: Exception) -> str:
    """Return the HTTP status of a response; 0 if there is none."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_transient(error: Exception) -> bool:
    codes = {_error_code(error), _status(error)}
    return not codes & _PERMANENT.keys() and bool(codes & _TRANSIENT)
