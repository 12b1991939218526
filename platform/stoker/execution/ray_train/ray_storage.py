"""The storage of a run as Ray Train opens it: by pyarrow, with the credentials that our own client uses."""

import os
from typing import Any

STATIC = ("env", "shared-credentials-file", "config-file", "explicit")
"""Kinds of credentials that stay valid, so that workers may get a copy; others are found by pyarrow itself."""


def ray_storage(url: str) -> tuple[str, Any]:
    """Return path and file system for a `RunConfig`; the file system is None where the path says all.

    Ray's own processes lack the environment of a run, which is read from files.

    Args:
        url: an `s3://` address or a path.

    """
    if not url.startswith("s3://"):
        return url, None
    from boto3.session import Session
    from pyarrow.fs import S3FileSystem

    session = Session()
    settings: dict[str, Any] = {}
    credentials = session.get_credentials()
    if credentials is not None and credentials.method in STATIC:
        frozen = credentials.get_frozen_credentials()
        settings |= {"access_key": frozen.access_key, "secret_key": frozen.secret_key, "session_token": frozen.token}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        settings["endpoint_override"] = endpoint
    if session.region_name:
        settings["region"] = session.region_name
    return url.removeprefix("s3://"), S3FileSystem(**settings)
