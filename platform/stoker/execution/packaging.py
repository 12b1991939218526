"""A run's model as MLflow stores it: code, weights, signature and example; nothing pickled."""

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
from mlflow.types.schema import ColSpec, DataType, Schema, TensorSpec

import stoker
from stoker.datasets.encoders import Encoders, ImageEncoder
from stoker.job.signature import ClassOutput

REQUIREMENTS = ("torch", "numpy", "pandas", "pydantic", "safetensors", "pillow", "pyarrow")
"""What the packages below need to predict."""
PACKAGES = ("job", "jobfile", "datasets", "architectures", "tasks", "inference")


@contextmanager
def packaged(model: Path) -> Iterator[dict[str, Any]]:
    """Make the arguments of MLflow's pyfunc flavour for the folder of a saved model."""
    encoders = Encoders.from_json(json.loads((model / "encoders.json").read_text(encoding="utf-8")))
    source = Path(stoker.__file__).parent
    with tempfile.TemporaryDirectory(prefix="stoker-code-") as draft:
        code = Path(draft) / "stoker"
        for package in PACKAGES:
            shutil.copytree(source / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
        for module in ("__init__.py", "errors.py", "randomness.py"):
            shutil.copy(source / module, code / module)
        yield {
            "python_model": str(code / "inference" / "served.py"),
            "code_paths": [str(code)],
            "artifacts": {"model": str(model)},
            "signature": signature(encoders),
            "input_example": example(model, encoders),
            "pip_requirements": [f"{name}=={_version(name)}" for name in (*REQUIREMENTS, "mlflow")],
        }


def signature(encoders: Encoders) -> ModelSignature:
    """Say what the served model takes and returns."""
    if isinstance(encoders.input, ImageEncoder):
        shape = (-1, encoders.input.height, encoders.input.width, encoders.input.channels)
        inputs = Schema([TensorSpec(np.dtype(np.uint8), shape)])
    else:
        numbers = [ColSpec(DataType.double, encoder.name, required=False) for encoder in encoders.input.numbers]
        categories = [ColSpec(DataType.string, encoder.name, required=False) for encoder in encoders.input.categories]
        inputs = Schema([*numbers, *categories])
    if isinstance(encoders.output, ClassOutput):
        classes = [ColSpec(DataType.float, f"probability/{name}") for name in encoders.output.classes]
        return ModelSignature(inputs, Schema([ColSpec(DataType.string, "prediction"), *classes]))
    return ModelSignature(inputs, Schema([ColSpec(DataType.double, "prediction")]))


def example(model: Path, encoders: Encoders) -> pd.DataFrame | np.ndarray:
    """Read the raw samples that were saved with the model, in the types of the signature."""
    content = json.loads((model / "example.json").read_text(encoding="utf-8"))
    if isinstance(encoders.input, ImageEncoder):
        return np.array(content, np.uint8)
    frame = pd.DataFrame(content["data"], columns=content["columns"])
    for number in encoders.input.numbers:
        frame[number.name] = pd.to_numeric(frame[number.name], errors="coerce").astype(float)
    for category in encoders.input.categories:
        frame[category.name] = frame[category.name].astype("string").astype(object)
    return frame


def _version(package: str) -> str:
    return importlib.metadata.version(package).split("+")[0]  # a local build has no public wheel
