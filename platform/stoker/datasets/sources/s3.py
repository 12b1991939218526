"""A bucket of S3 or a compatible server (AWS_ENDPOINT_URL): one object, or all below a prefix."""

import re
from collections.abc import Iterator
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from stoker.datasets.sources.source import RemoteFile, Source, changed_error, source_error, vanished_error
from stoker.datasets.sources.transfer import CHUNK_BYTES, PATIENCE_S, Interrupted, Remainder, download
from stoker.errors import Cause, StokerError, StorageError, Unreachable

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
"""More than AWS allows today: old buckets and other servers have capitals and underscores."""
CONNECTIONS = 16
"""At least as many as the cache has threads."""
ANSWER_S = 15.0
"""Timeout of connecting and reading."""


class _Refusal(Enum):
    """Permanent reasons why a request fails."""

    NO_BUCKET = "there is no such bucket at {endpoint}; name another one, or the right server in AWS_ENDPOINT_URL"
    NO_OBJECT = "there is no such object"
    CHANGED = "was replaced between listing and download"
    ARCHIVED = "is archived; restore it to a storage class that can be read at once"
    NO_RIGHTS = "access is denied; allow this user s3:ListBucket on the bucket and s3:GetObject on its objects"
    NO_KEYS = "{reason}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    OLD_TOKEN = "{reason}; renew the session's credentials, such as with `aws sso login`"  # noqa: S105  # no password
    CLOCK = "{reason}; set the clock of this machine"
    REGION = "the bucket is in another region{region}; set AWS_REGION to it"
    ENDPOINT = "{reason}; correct AWS_ENDPOINT_URL"


_REFUSALS = {
    # error codes of a response; one to HEAD has only the status
    "301": _Refusal.REGION,
    "401": _Refusal.NO_KEYS,
    "403": _Refusal.NO_RIGHTS,
    "404": _Refusal.NO_OBJECT,
    "412": _Refusal.CHANGED,
    "AccessDenied": _Refusal.NO_RIGHTS,
    "AllAccessDisabled": _Refusal.NO_RIGHTS,
    "AuthorizationHeaderMalformed": _Refusal.REGION,
    "ExpiredToken": _Refusal.OLD_TOKEN,
    "IllegalLocationConstraintException": _Refusal.REGION,
    "InvalidAccessKeyId": _Refusal.NO_KEYS,
    "InvalidBucketName": _Refusal.NO_BUCKET,
    "InvalidObjectState": _Refusal.ARCHIVED,
    "InvalidToken": _Refusal.OLD_TOKEN,
    "NoSuchBucket": _Refusal.NO_BUCKET,
    "NoSuchKey": _Refusal.NO_OBJECT,
    "PermanentRedirect": _Refusal.REGION,
    "PreconditionFailed": _Refusal.CHANGED,
    "RequestTimeTooSkewed": _Refusal.CLOCK,
    "SignatureDoesNotMatch": _Refusal.NO_KEYS,
    # exceptions before a request is sent
    "CredentialRetrievalError": _Refusal.NO_KEYS,
    "NoCredentialsError": _Refusal.NO_KEYS,
    "ParamValidationError": _Refusal.NO_BUCKET,
    "PartialCredentialsError": _Refusal.NO_KEYS,
    "ProfileNotFound": _Refusal.NO_KEYS,
    "SSOTokenLoadError": _Refusal.OLD_TOKEN,
    "TokenRetrievalError": _Refusal.OLD_TOKEN,
    "UnauthorizedSSOTokenError": _Refusal.OLD_TOKEN,
    "ValueError": _Refusal.ENDPOINT,
}
_IN_THE_JOB = {_Refusal.NO_BUCKET, _Refusal.NO_OBJECT, _Refusal.ARCHIVED}
"""Refusals that another `dataset.source` cures; all others are the operator's."""

_TRANSIENT = {"RequestTimeout", "SlowDown", "Throttling", "RequestLimitExceeded"}
"""Transient error codes whose status may be below 500."""


class S3Source(Source):
    """`s3://BUCKET/PREFIX/` or `s3://BUCKET/KEY`, with boto3's credentials."""

    def __init__(self, source: str, patience_s: float = PATIENCE_S) -> None:
        super().__init__(source)
        self._bucket, _, self._key = source.removeprefix("s3://").partition("/")
        self._patience_s = patience_s

    @cached_property
    def _failures(self) -> tuple[type[Exception], ...]:
        from botocore.exceptions import BotoCoreError, ClientError

        return BotoCoreError, ClientError

    @cached_property
    def _client(self) -> Any:
        from boto3.session import Session  # takes half a second, which jobs on local data should not pay for
        from botocore.config import Config

        settings = Config(
            retries={"mode": "standard"},  # AWS_MAX_ATTEMPTS sets their number
            connect_timeout=ANSWER_S,
            read_timeout=ANSWER_S,
            max_pool_connections=CONNECTIONS,
            response_checksum_validation="when_required",  # a resumed download has no checksum of the whole object
        )
        refusals: tuple[type[Exception], ...] = (*self._failures, ValueError)  # ValueError: the endpoint is not a URL
        try:
            return Session().client("s3", config=settings)
        except refusals as error:
            raise self._failure(self.url, error) from error

    @staticmethod
    def problem(source: str) -> str:
        """Return the problem of an address's syntax; empty if it is valid."""
        bucket = source.removeprefix("s3://").partition("/")[0]
        if BUCKET.fullmatch(bucket):
            return ""
        wrong = f"'{bucket}' cannot be a bucket" if bucket else f"'{source}' names no bucket"
        return f"{wrong}; write s3://BUCKET/PREFIX/ or s3://BUCKET/KEY"

    def files(self) -> list[RemoteFile]:
        """List the object, or else every object below the prefix, without folder markers."""
        if self._key and not self._key.endswith("/") and (found := self._single()):
            return [found]
        below = self._folder_prefix()
        listed = [
            RemoteFile(key.removeprefix(below), int(entry["Size"]), str(entry["ETag"]))
            for entry in self._listed(below)
            if not (key := str(entry["Key"])).endswith("/")
        ]
        if not listed:
            is_pattern = any(letter in self._key for letter in "*?[")
            cure = "patterns are for paths alone, name a prefix" if is_pattern else "correct the prefix or fill it"
            raise source_error(f"there are no objects below '{self.url}'; {cure}")
        return listed

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Download an object if it is still the listed version."""
        key = self._key if file.is_source else self._folder_prefix() + file.name
        place = f"s3://{self._bucket}/{key}"

        def begin(start: int) -> Remainder:
            if start and start == file.size:
                return Remainder(start, iter(()), file.size)
            start = start if file.size is None or start < file.size else 0
            return self._opened(key, file, start)

        try:
            download(target, begin, self._patience_s)
        except Interrupted as error:
            raise Unreachable(f"{place}: {error}; is the server up?") from error
        except self._failures as error:
            raise self._failure(place, error, listed=True) from error

    def _opened(self, key: str, file: RemoteFile, start: int) -> Remainder:
        asked = {"Range": f"bytes={start}-"} if start else {}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=file.version, **asked)
        except self._failures as error:
            raise (Interrupted(str(error)) if _is_transient(error) else error) from error
        return Remainder(start, self._chunks(answer["Body"]), file.size)

    def _chunks(self, body: Any) -> Iterator[bytes]:
        try:
            yield from body.iter_chunks(CHUNK_BYTES)
        except self._failures as error:  # a stream raises only network errors
            raise Interrupted(str(error)) from error
        finally:
            body.close()

    def _folder_prefix(self) -> str:
        return self._key if not self._key or self._key.endswith("/") else f"{self._key}/"

    def _single(self) -> RemoteFile | None:
        """Return the object with exactly this key; None if there is none."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._key)
        except self._failures as error:
            if _code(error) not in ("403", "404", "400", "301"):
                raise self._failure(self.url, error) from error
            next(iter(self._listed(self._key)), None)  # a response to HEAD has no body; the listing raises the reason
            if _code(error) == "404":
                return None
            raise self._failure(self.url, error) from error
        name = self._key.rpartition("/")[2]
        return RemoteFile(name, int(found["ContentLength"]), str(found["ETag"]), is_source=True)

    def _listed(self, prefix: str) -> Iterator[dict[str, Any]]:
        try:
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                yield from page.get("Contents", ())
        except self._failures as error:
            raise self._failure(self.url, error) from error

    def _failure(self, place: str, error: Exception, listed: bool = False) -> StokerError:
        """Convert an error of boto3 to ours, with address and cure."""
        refusal = _REFUSALS.get(_code(error)) or _REFUSALS.get(_status(error))
        if listed and refusal is _Refusal.NO_OBJECT:
            return vanished_error(place)
        if listed and refusal is _Refusal.CHANGED:
            return changed_error(place)
        if refusal is None:
            return Unreachable(f"{place}: {error}; is {self._endpoint()} well, and AWS_ENDPOINT_URL right?")
        endpoint = self._endpoint() if refusal is _Refusal.NO_BUCKET else ""
        message = refusal.value.format(endpoint=endpoint, reason=error, region=_region(error))
        if refusal in _IN_THE_JOB:
            return source_error(f"'{place}': {message}")
        return StorageError(Cause.STORAGE_AUTH, f"{place}: {message}")

    def _endpoint(self) -> str:
        return str(self._client.meta.endpoint_url)


def _code(error: Exception) -> str:
    """Return the error code of the response, or else the name of the exception."""
    response: dict[str, Any] | None = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if response else type(error).__name__


def _status(error: Exception) -> str:
    """Return the HTTP status of the response; 0 if there is none."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_transient(error: Exception) -> bool:
    word, status = _code(error), _status(error)
    if word in _TRANSIENT or status[:1] == "5":
        return True
    return status == "0" and word not in _REFUSALS


def _region(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", None) or {}
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    return f", {region}" if region else ""
