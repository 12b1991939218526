"""Objects in a bucket of S3, or of any server that speaks its language (AWS_ENDPOINT_URL).

Large objects travel in parts, several at a time, by boto3's own transfer; where an upload fails, what is half sent is
given up. botocore begins a failed request again, but only for seconds and within a quota; an operation that fails all
the same for a reason that may pass is therefore begun again as a whole until `PATIENCE_S` is over.
"""

import hashlib
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from io import BytesIO
from random import SystemRandom  # draws nothing from the generator that a job's own code may have seeded
from typing import Any, TypeVar

from stoker.errors import Cause, NotFound, StokerError, StorageError
from stoker.storage.objects import Chunks, Digest, Storage, checked, pieces

PART_BYTES = 16 << 20
"""Objects from this size on travel in parts of this size."""

PATIENCE_S = 120.0
"""How long after its first failure an operation is begun again; a server that is silent, not down, can add `ATTEMPTS`
times `ANSWER_S` before and after."""

ATTEMPTS = 5
"""How often botocore sends one request before the operation is begun again."""

ANSWER_S = 15.0
"""How long a server may be silent."""

LONGEST_WAIT_S = 16.0

_Answer = TypeVar("_Answer")
_NOTHING = memoryview(b"")

_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
_RIGHTS = "allow this user to list the bucket and to get, put and delete its objects"
_NAME = "name another bucket or make this one; AWS_ENDPOINT_URL says on which server"
_SPACE = "delete objects or raise the quota"

_FINAL: dict[str, tuple[Cause, str]] = {
    # what a server answers; a HEAD or a strange server has only the status
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
    # exceptions before anything is sent
    "CredentialRetrievalError": (Cause.STORAGE_AUTH, _KEYS),
    "NoCredentialsError": (Cause.STORAGE_AUTH, _KEYS),
    "ParamValidationError": (Cause.STORAGE_AUTH, _NAME),
    "PartialCredentialsError": (Cause.STORAGE_AUTH, _KEYS),
    "ProfileNotFound": (Cause.STORAGE_AUTH, "mend AWS_PROFILE"),
    "SSOTokenLoadError": (Cause.STORAGE_AUTH, "log in anew: aws sso login"),
    "TokenRetrievalError": (Cause.STORAGE_AUTH, "log in anew: aws sso login"),
    "UnauthorizedSSOTokenError": (Cause.STORAGE_AUTH, "log in anew: aws sso login"),
    "ValueError": (Cause.STORAGE_AUTH, "mend AWS_ENDPOINT_URL"),
}
"""Refusals that time does not mend."""

_PASSING = {
    "0",  # no answer at all, or one that was cut
    "408",
    "409",  # another request to the same object is under way
    "429",
    "500",
    "502",
    "503",  # also SlowDown
    "504",
    "NoSuchUpload",  # the upload may have ended, and the answer that said so was lost
    "RequestTimeout",  # S3 says it with status 400
}
"""Codes and statuses that time may mend; all other unknown ones stay what they are."""

_ABSENT = {"NoSuchKey", "404"}


class S3Storage(Storage):
    """A bucket, and the prefix of every key in it; credentials come from where boto3 looks for them."""

    def __init__(self, bucket: str, prefix: str, part_bytes: int = PART_BYTES, patience_s: float = PATIENCE_S) -> None:
        # boto3 and a client take a second: who keeps everything in a folder never waits for them
        from boto3.exceptions import Boto3Error
        from boto3.s3.transfer import TransferConfig
        from boto3.session import Session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
        from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError, S3ValidationError

        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._patience_s = patience_s
        self._failures = (
            BotoCoreError,
            Boto3Error,
            ClientError,
            RetriesExceededError,  # each of several answers was cut
            S3DownloadFailedError,  # the object was put anew meanwhile
            S3ValidationError,
        )
        self._transfer = TransferConfig(multipart_threshold=part_bytes, multipart_chunksize=part_bytes)
        settings = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=ANSWER_S,
            read_timeout=ANSWER_S,
            response_checksum_validation="when_required",  # readers verify SHA-256; spares a HEAD before each GET
        )
        try:
            self._client: Any = Session().client("s3", config=settings)
        except (*self._failures, ValueError) as error:  # ValueError: an endpoint that is no URL
            raise self._refusal("", error) from error

    def put(self, key: str, chunks: Chunks) -> Digest:
        """Upload; a multipart upload shows nothing before its end."""

        def upload() -> Digest:
            body = _Body(chunks)
            self._client.upload_fileobj(body, self._bucket, self._key(key), Config=self._transfer)
            return Digest(body.size, body.sha256.hexdigest())

        return self._patiently(key, upload)

    def get(self, key: str) -> bytes:
        """Download, large objects in parts; all parts are of the same version of it."""

        def download() -> bytes:
            body = BytesIO()
            self._client.download_fileobj(self._bucket, self._key(key), body, Config=self._transfer)
            return body.getvalue()

        return self._patiently(key, download)

    def keys(self, prefix: str) -> list[str]:
        """List; the empty objects that some tools use as folders do not count."""
        below = f"{self._key(prefix)}/" if prefix else self._prefix
        found = self._listed("list_objects_v2", "Contents", below, prefix)
        keys = (str(entry["Key"]).removeprefix(self._prefix) for entry in found)
        return sorted(key for key in keys if not key.endswith("/"))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete one by one: a request for many keeps no order."""
        for key in keys:
            self._patiently(key, partial(self._client.delete_object, Bucket=self._bucket, Key=self._key(key)))

    def clear(self, prefix: str) -> None:
        """Delete the objects, and give up the uploads that killed writers began, as far as the server shows them."""
        self.delete(self.keys(prefix))
        with suppress(StorageError):  # nobody reads them, and the right to list them is rarely given
            for upload in self._listed("list_multipart_uploads", "Uploads", f"{self._key(prefix)}/", prefix):
                self._patiently(prefix, partial(self._give_up, upload))

    def url(self, key: str) -> str:
        """Give the s3:// address."""
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _key(self, key: str) -> str:
        return self._prefix + checked(key)

    def _listed(self, operation: str, entries: str, below: str, prefix: str) -> list[dict[str, Any]]:
        """Collect the entries of all pages of a listing."""
        pages = self._client.get_paginator(operation)
        # From the first page each time: an iterator that has failed would go on behind the pages that it gave away.
        answer = self._patiently(prefix, lambda: pages.paginate(Bucket=self._bucket, Prefix=below).build_full_result())
        return list(answer.get(entries, ()))

    def _give_up(self, upload: dict[str, Any]) -> None:
        with suppress(self._client.exceptions.NoSuchUpload):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def _patiently(self, key: str, operation: Callable[[], _Answer]) -> _Answer:
        """Begin an operation again until it succeeds, is refused for good, or patience is over."""
        end, longest_s = 0.0, 1.0
        while True:
            try:
                return operation()
            except self._failures as error:
                wait_s = SystemRandom().uniform(0, longest_s)
                end = end or time.monotonic() + self._patience_s  # an upload of an hour may be begun again, too
                if not _may_pass(error) or time.monotonic() + wait_s > end:
                    raise self._refusal(key, error) from error
            time.sleep(wait_s)
            longest_s = min(2 * longest_s, LONGEST_WAIT_S)

    def _refusal(self, key: str, error: Exception) -> StokerError:
        """Say in our words what a server or boto3 refuses."""
        word, place = _word(error), self.url(key)
        if word in _ABSENT:
            return NotFound(f"{place} does not exist")
        cause, cure = _FINAL.get(word) or _FINAL.get(_status(error)) or (Cause.INFRASTRUCTURE, "is its server well?")
        reason = getattr(error, "last_exception", error)  # boto3 wraps the last of several
        return StorageError(cause, f"{place}: {reason}; {cure}")


class _Body:
    """An object as the file that boto3 reads from front to back, hashed on the way."""

    def __init__(self, chunks: Chunks) -> None:
        self._pieces = pieces(chunks)
        self._rest = _NOTHING
        self.size = 0
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Give exactly so many bytes, fewer only at the end; all that are left where size is negative."""
        taken: list[memoryview] = []
        missing = size if size >= 0 else sys.maxsize
        while missing and (piece := self._rest or next(self._pieces, _NOTHING)):
            taken.append(piece[:missing])
            self._rest = piece[missing:]
            missing -= len(taken[-1])
        data = b"".join(taken)
        self.size += len(data)
        self.sha256.update(data)
        return data


def _word(error: Exception) -> str:
    """Name a failure: by the code that a server answered, or by the exception's own name."""
    response: dict[str, Any] | None = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if response else type(error).__name__


def _status(error: Exception) -> str:
    """Give the HTTP status of an answer; 0 where none came."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _may_pass(error: Exception) -> bool:
    names = {_word(error), _status(error)}
    return not names & _FINAL.keys() and bool(names & _PASSING)
