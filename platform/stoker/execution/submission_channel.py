"""The job of a standing Ray that a driver belongs to, where it has one.

What the driver says goes into the job's metadata, which the Jobs API shows: one small answer tells a client all, and
the log stays the run's own. Requests come as a package whose name belongs to this job: the Jobs API takes packages,
and keeps them where the driver can read them. Ray itself does nothing with either.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from stoker.execution.contract import SUBMISSION, request_package
from stoker.execution.control_channel import serve
from stoker.tracking.run_folder import RunFolder


def serve_submission(folder: RunFolder) -> AbstractContextManager[None] | None:
    """Follow the job of this driver for the length of a block; None where there is none."""
    submission = os.environ.get(SUBMISSION)
    return _serve(_SubmissionChannel(submission, os.environ["RAY_ADDRESS"]), folder) if submission else None


@contextmanager
def _serve(submission: "_SubmissionChannel", folder: RunFolder) -> Iterator[None]:
    with serve(submission, folder, progress_every=1):
        yield
    submission.delete_request()
    if folder.status().state.ended:  # the storage and MLflow have it; the head's disk is not to fill with runs
        shutil.rmtree(folder.path, ignore_errors=True)


class _SubmissionChannel:
    """One job in Ray's own store, over a connection that does not depend on the driver's."""

    def __init__(self, submission: str, address: str) -> None:
        from ray._raylet import GcsClient  # type: ignore[attr-defined] # compiled; drivers elsewhere do without it
        from ray.dashboard.modules.job.common import JobInfoStorageClient

        self._submission = submission
        self._store = GcsClient(address=address)
        self._jobs = JobInfoStorageClient(self._store)
        self._request = f"gcs://{request_package(submission)}".encode()
        self._published: dict[str, str] = {}

    def request(self) -> str:
        """Tell what somebody asks for; empty for nothing."""
        return str((self._store.internal_kv_get(self._request, None) or b"").decode())

    def close(self) -> None:
        """Do nothing: Ray does not start a job a second time."""

    def publish(self, name: str, content: dict[str, Any]) -> None:
        """Write a line of the job's metadata, if it is another one than before."""
        text = json.dumps(content)
        if self._published.get(name) != text:
            asyncio.run(self._write(name, text))
            self._published[name] = text

    def delete_request(self) -> None:
        """Remove what was asked, which nobody else reads."""
        with suppress(Exception):  # a head that goes takes it along
            self._store.internal_kv_del(self._request, False, None)

    async def _write(self, name: str, text: str) -> None:
        info = await self._jobs.get_info(self._submission)
        if info is not None and not info.status.is_terminal():  # Ray has given up on this driver and is about to end it
            metadata = {**(info.metadata or {}), name: text}
            await self._jobs.put_status(self._submission, info.status, jobinfo_replace_kwargs={"metadata": metadata})
