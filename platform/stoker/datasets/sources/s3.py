"""A bucket of S3, or of any server that speaks its language (AWS_ENDPOINT_URL): one object, or all below a prefix."""

import re
from collections.abc import Iterator
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from stoker.datasets.sources.source import RemoteFile, Source, changed, source_error, vanished
from stoker.datasets.sources.transfer import CHUNK_BYTES, PATIENCE_S, Interrupted, Remainder, download
from stoker.errors import Cause, StokerError, StorageError, Unreachable

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
"""Wider than what AWS allows today: old buckets and other servers have capitals and underscores."""
CONNECTIONS = 16
"""At least as many as the cache has threads."""
ANSWER_S = 15.0
"""How long a server may be silent."""


class _Refusal(Enum):
    """Why a request fails for good."""

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
    # what a server answers; an answer to HEAD has only the status
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
    # exceptions before anything is sent
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

_PASSING = {"RequestTimeout", "SlowDown", "Throttling", "RequestLimitExceeded"}
"""Codes that a server may answer with a status below 500."""


class S3Source(Source):
    """`s3://BUCKET/PREFIX/`, or `s3://BUCKET/KEY`; credentials come from where boto3 looks for them."""

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
        from boto3.session import Session  # it takes half a second: jobs on local data do not wait for it
        from botocore.config import Config

        settings = Config(
            retries={"mode": "standard"},  # AWS_MAX_ATTEMPTS says how many
            connect_timeout=ANSWER_S,
            read_timeout=ANSWER_S,
            max_pool_connections=CONNECTIONS,
            response_checksum_validation="when_required",  # a continued download has no checksum of the whole
        )
        refusals: tuple[type[Exception], ...] = (*self._failures, ValueError)  # ValueError: an endpoint that is no URL
        try:
            return Session().client("s3", config=settings)
        except refusals as error:
            raise self._failure(self.url, error) from error

    @staticmethod
    def problem(source: str) -> str:
        """Return what is wrong with the syntax."""
        bucket = source.removeprefix("s3://").partition("/")[0]
        if BUCKET.fullmatch(bucket):
            return ""
        wrong = f"'{bucket}' cannot be a bucket" if bucket else f"'{source}' names no bucket"
        return f"{wrong}; write s3://BUCKET/PREFIX/ or s3://BUCKET/KEY"

    def files(self) -> list[RemoteFile]:
        """List the object, or else every object below the prefix; folder markers do not count."""
        if self._key and not self._key.endswith("/") and (found := self._one()):
            return [found]
        below = self._below()
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
        """Download an object, provided that it is still the listed version."""
        key = self._key if file.is_source else self._below() + file.name
        place = f"s3://{self._bucket}/{key}"

        def begin(start: int) -> Remainder:
            if start and start == file.size:
                return Remainder(start, iter(()), file.size)
            start = start if file.size is None or start < file.size else 0
            return self._opened(key, file, start)

        try:
            download(target, begin, self._patience_s)
        except Interrupted as error:
            raise Unreachable(f"{place}: {error}; is the server well?") from error
        except self._failures as error:
            raise self._failure(place, error, listed=True) from error

    def _opened(self, key: str, file: RemoteFile, start: int) -> Remainder:
        asked = {"Range": f"bytes={start}-"} if start else {}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=file.version, **asked)
        except self._failures as error:
            raise (Interrupted(str(error)) if _may_pass(error) else error) from error
        return Remainder(start, self._chunks(answer["Body"]), file.size)

    def _chunks(self, body: Any) -> Iterator[bytes]:
        try:
            yield from body.iter_chunks(CHUNK_BYTES)
        except self._failures as error:  # all that a stream can raise is the network's
            raise Interrupted(str(error)) from error
        finally:
            body.close()

    def _below(self) -> str:
        return self._key if not self._key or self._key.endswith("/") else f"{self._key}/"

    def _one(self) -> RemoteFile | None:
        """Return the object with exactly this key; None where there is none."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._key)
        except self._failures as error:
            if _word(error) not in ("403", "404", "400", "301"):
                raise self._failure(self.url, error) from error
            next(iter(self._listed(self._key)), None)  # an answer to HEAD has no text; the listing says what is wrong
            if _word(error) == "404":
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
        """Turn a failure of boto3 into ours, which names the place and the cure."""
        refusal = _REFUSALS.get(_word(error)) or _REFUSALS.get(_status(error))
        if listed and refusal is _Refusal.NO_OBJECT:
            return vanished(place)
        if listed and refusal is _Refusal.CHANGED:
            return changed(place)
        if refusal is None:
            return Unreachable(f"{place}: {error}; is {self._endpoint()} well, and AWS_ENDPOINT_URL right?")
        endpoint = self._endpoint() if refusal is _Refusal.NO_BUCKET else ""
        message = refusal.value.format(endpoint=endpoint, reason=error, region=_region(error))
        if refusal in _IN_THE_JOB:
            return source_error(f"'{place}': {message}")
        return StorageError(Cause.STORAGE_AUTH, f"{place}: {message}")

    def _endpoint(self) -> str:
        return str(self._client.meta.endpoint_url)


def _word(error: Exception) -> str:
    """Return the code that a server answered, or else the exception's own name."""
    response: dict[str, Any] | None = getattr(error, "response", None)
    return str(response["Error"].get("Code", "")) if response else type(error).__name__


def _status(error: Exception) -> str:
    """Return the HTTP status of an answer; 0 where none came."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _may_pass(error: Exception) -> bool:
    word, status = _word(error), _status(error)
    if word in _PASSING or status[:1] == "5":
        return True
    return status == "0" and word not in _REFUSALS


def _region(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", None) or {}
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region")
    return f", {region}" if region else ""
