"""Packages a run's model for MLflow: code, weights, signature and example, without pickles.

Nothing of the model is loaded here: the driver needs neither torch nor the user's own code.
"""

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import DataType

import stoker
from stoker.job.saved_model import EXAMPLE, SIGNATURE

REQUIREMENTS = ("torch", "numpy", "pandas", "pydantic", "safetensors", "pillow", "pyarrow")
"""Dependencies of the packages below for prediction."""
MODULES = ("__init__.py", "errors.py", "randomness.py")
PACKAGES = ("job", "jobfile", "datasets", "architectures", "tasks", "inference")


@contextmanager
def packaged(model: Path) -> Iterator[dict[str, Any]]:
    """Yield the arguments of MLflow's pyfunc flavour for the folder of a saved model."""
    signature = ModelSignature.from_dict(json.loads((model / SIGNATURE).read_text(encoding="utf-8")))
    source = Path(stoker.__file__).parent
    with tempfile.TemporaryDirectory(prefix="stoker-code-") as draft:
        code = Path(draft) / "stoker"
        for package in PACKAGES:
            shutil.copytree(source / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
        for module in MODULES:
            shutil.copy(source / module, code / module)
        yield {
            "python_model": str(code / "inference" / "served.py"),
            "code_paths": [str(code)],
            "artifacts": {"model": str(model)},
            "signature": signature,
            "input_example": example(model, signature),
            "pip_requirements": [f"{name}=={_version(name)}" for name in (*REQUIREMENTS, "mlflow")],
        }


def example(model: Path, signature: ModelSignature) -> pd.DataFrame | np.ndarray:
    """Return the raw samples saved with a model, in the types of its signature."""
    content = json.loads((model / EXAMPLE).read_text(encoding="utf-8"))
    if isinstance(content, list):
        return np.array(content, np.uint8)
    frame = pd.DataFrame(content["data"], columns=content["columns"])
    for column in signature.inputs:
        if column.type == DataType.double:
            frame[column.name] = pd.to_numeric(frame[column.name], errors="coerce").astype(float)
        elif column.type == DataType.string:
            frame[column.name] = frame[column.name].astype("string").astype(object)
    return frame


def _version(package: str) -> str:
    return importlib.metadata.version(package).split("+")[0]  # a local version such as 2.0+cpu is not on PyPI
