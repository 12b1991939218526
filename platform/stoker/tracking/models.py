"""The model of a run: from its folder, or downloaded from MLflow."""

import tempfile
from pathlib import Path

from stoker.errors import NotFound, Unreachable
from stoker.job.saved_model import WEIGHTS
from stoker.settings import Settings, without_password
from stoker.tracking.run import RunRecord


def fetch_model(record: RunRecord, settings: Settings) -> Path:
    """Return the folder of a run's model, downloaded if the run's folder has none.

    Raises:
        NotFound: the run has no model.
        Unreachable: the tracking server does not answer.

    """
    model = record.folder / "model"
    if (model / WEIGHTS).is_file():
        return model
    if not record.status.model_uri:
        raise NotFound(f"{record.id} is {record.state} and has no model")
    recorded = record.header.tracking_uri
    same = recorded == without_password(settings.tracking_uri)
    return download_model(record.status.model_uri, settings.tracking_uri if same else recorded)


def download_model(uri: str, tracking_uri: str) -> Path:
    """Download a model from MLflow and return the folder of its weights.

    Raises:
        NotFound: it is not a model of Stoker.
        Unreachable: the tracking server does not answer.

    """
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(tracking_uri)
    target = tempfile.mkdtemp(prefix="stoker-model-")
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=target))
    except (MlflowException, OSError) as error:
        raise Unreachable(
            f"cannot fetch {uri} from {without_password(tracking_uri)}: {type(error).__name__}"
        ) from error
    found = [path.parent for path in folder.rglob(WEIGHTS)]
    if not found:
        raise NotFound(f"{uri} is not a model of Stoker")
    return found[0]
