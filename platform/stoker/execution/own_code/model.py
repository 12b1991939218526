"""The model of own code: what it has logged to MLflow, or else its newest checkpoint as it is."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from stoker.errors import StokerError
from stoker.execution.own_code.checkpoint_folder import PREFIX
from stoker.execution.ray_train.snapshot import newest_checkpoint
from stoker.execution.run_store import run_storage
from stoker.job.own_code import CodeJob, is_function
from stoker.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from stoker.tracking.mlflow_run import MlflowRun


def record_model(folder: RunFolder, job: CodeJob, tracked: "MlflowRun") -> tuple[str, str]:
    """Register the model as the job says; return its URI, and why there is none to register, both possibly empty.

    Raises:
        MlflowException, OSError: MLflow does not accept it.

    """
    register = None if job.tracking == "none" else job.tracking.register_as
    if uri := tracked.logged_model(register):
        return uri, ""
    if not register:
        return "", ""
    header = folder.header()
    storage = run_storage(folder, header, header.id)
    with TemporaryDirectory(prefix="checkpoint-", dir=folder.path) as files:
        try:
            place = newest_checkpoint(storage) if is_function(job) else PREFIX
            found = place and storage.download_folder(place, Path(files))
        except StokerError as error:
            return "", f"'{register}' has no new version: {error}"
        if not found:
            return "", f"'{register}' has no new version: the run has left neither a model in MLflow nor a checkpoint"
        return tracked.register_files(Path(files), register), ""
