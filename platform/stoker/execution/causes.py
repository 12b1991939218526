"""Classification of a worker's exceptions: the cause of the failure and a message for its user."""

import errno
import re
import signal
import traceback
from collections.abc import Sequence
from pathlib import Path

from stoker.errors import Cause, ClusterError, Damaged, JobError, NotFound, StorageError, TrainingFailed
from stoker.execution.device_faults import device_fault
from stoker.execution.heartbeat import Heartbeat
from stoker.execution.worker_result import WorkerResult

LOST_PEERS = re.compile(r"\bgloo\b|\bNCCL\b|Connection (closed|reset) by peer|Timed out waiting \d+ms")
"""Texts of the RuntimeErrors that torch raises when a peer is gone; gloo has no exception class of its own."""
EXCEPTION = re.compile(r"^[\w.]+(Error|Exception)\b", re.MULTILINE)
"""The line of an uncaught exception behind its traceback."""
EXHAUSTED = (
    (re.compile(r"OutOfMemoryError|CUDA out of memory"), Cause.OOM_DEVICE),
    (re.compile(r"\bMemoryError\b|DefaultCPUAllocator: can't allocate memory"), Cause.OOM_HOST),
    (re.compile(r"No space left on device|Disk quota exceeded"), Cause.DISK_FULL),
)
"""Texts of errors of resources, in the output of a program."""


def classify_failure(error: Exception, code: Path, heartbeat: Heartbeat) -> WorkerResult:
    """Classify the exception that ended a worker.

    Args:
        error: the exception.
        code: folder of the user's own modules.
        heartbeat: of the worker, with its progress.

    """
    lost = False
    details = device = ""
    match error:
        case JobError() | NotFound():
            cause, message = Cause.BAD_DATA, str(error)
        case StorageError():
            cause, message = error.cause, str(error)
        case ClusterError() | Damaged():
            cause, message = Cause.INFRASTRUCTURE, str(error)
        case TrainingFailed() if error.cause is not Cause.USER_CODE or error.__cause__ is None:
            cause, message = error.cause, error.message
        case _:
            cause, message, details = _classify_unexpected(error, code)
            device = device_fault(str(error)) if cause is Cause.INFRASTRUCTURE else ""
            lost = cause is Cause.INFRASTRUCTURE and not device
    return WorkerResult(
        "failed",
        cause,
        message,
        details,
        lost,
        step=heartbeat.step,
        began=heartbeat.began,
        checkpoint=heartbeat.checkpoint,
        device=device,
    )


def classify_output(program: str, code: int, errors: Sequence[str], killed: bool) -> WorkerResult:
    """Classify the end of a program by its exit code and its last lines of standard error.

    Args:
        program: its name, for the message.
        code: its exit code; negative: the signal that ended it.
        errors: the last lines.
        killed: whether the kernel has killed a process for lack of memory meanwhile.

    """
    last = next((line.strip() for line in reversed(errors) if line.strip()), "")
    how = f"exited with {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
    message = f"{program} {how}" + (f": {last}" if last else "")
    text = "\n".join(errors)
    if killed and code == -signal.SIGKILL:
        return WorkerResult("failed", Cause.OOM_HOST, message)
    if found := next((cause for pattern, cause in EXHAUSTED if pattern.search(text)), None):
        return WorkerResult("failed", found, message)
    if code < 0 and code != -signal.SIGSEGV:
        return WorkerResult("failed", Cause.INFRASTRUCTURE, message)
    exceptions = [match.start() for match in EXCEPTION.finditer(text)]
    if exceptions and (fault := device_fault(text[exceptions[-1] :])):  # a warning before may say the same of no matter
        first = text[exceptions[-1] :].partition("\n")[0]
        return WorkerResult("failed", Cause.INFRASTRUCTURE, f"{program} {how}: {first}", device=fault)
    if LOST_PEERS.search(text):
        return WorkerResult("failed", Cause.INFRASTRUCTURE, message, lost_peers=True)
    return WorkerResult("failed", Cause.USER_CODE, message)


def _classify_unexpected(error: BaseException, code: Path) -> tuple[Cause, str, str]:
    """Return cause, message and traceback of an exception that Stoker does not raise itself."""
    if isinstance(error, TrainingFailed) and error.__cause__ is not None:
        error = error.__cause__  # raised by the user's code and wrapped by its caller
    first_line = str(error).strip().partition("\n")[0]
    details = "".join(traceback.format_exception(error))
    if (cause := _exhausted_resource(error)) is not None:
        return cause, f"{type(error).__name__}: {first_line}", details
    if isinstance(error, RuntimeError) and device_fault(str(error)):
        return Cause.INFRASTRUCTURE, f"{type(error).__name__}: {first_line}", details
    lost = _is_of("torch", "DistError", error) or _is_of("ray", "RayActorError", error)
    if lost or (isinstance(error, RuntimeError) and LOST_PEERS.search(str(error))):
        return Cause.INFRASTRUCTURE, f"it lost its peers ({first_line})", details
    frames = traceback.extract_tb(error.__traceback__)
    user_frames = [number for number, frame in enumerate(frames) if Path(frame.filename).is_relative_to(code)]
    place = ""
    if user_frames:
        place = f"{Path(frames[user_frames[-1]].filename).relative_to(code)}:{frames[user_frames[-1]].lineno}"
    elif isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(code):
        place = f"{Path(error.filename).relative_to(code)}:{error.lineno}"
    if place:
        return Cause.USER_CODE, f"{place}: {type(error).__name__}: {first_line}", _user_traceback(error, user_frames)
    return Cause.INTERNAL, f"{type(error).__name__}: {error}", details


def _exhausted_resource(error: BaseException) -> Cause | None:
    """Return the cause if memory or disk space ran out; None otherwise."""
    if _is_of("torch", "OutOfMemoryError", error):
        return Cause.OOM_DEVICE
    if _is_of("ray", "OutOfMemoryError", error):  # Ray's monitor has killed another process, which this one needs
        return Cause.OOM_HOST
    if isinstance(error, MemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error):
        return Cause.OOM_HOST
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Cause.DISK_FULL
    return None


def _is_of(library: str, name: str, error: BaseException) -> bool:
    """Return whether an exception is of a library's class, or a subclass; the library is not imported for this."""
    return any(each.__name__ == name and each.__module__.split(".")[0] == library for each in type(error).__mro__)


def _user_traceback(error: BaseException, user_frames: list[int]) -> str:
    """Format the traceback from the user's first frame on; the frames above it are Stoker's."""
    formatted = traceback.TracebackException.from_exception(error)
    formatted.stack = traceback.StackSummary.from_list(list(formatted.stack)[user_frames[0] :] if user_frames else [])
    return "".join(formatted.format())
