"""Packages a run's model for MLflow: code, weights, signature and example, without pickles."""

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
from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

import stoker
from stoker.inference.model import Model
from stoker.job.signature import ClassOutput, MaskOutput, TagsOutput
from stoker.tasks.abilities import can_encode, can_sample

REQUIREMENTS = ("torch", "numpy", "pandas", "pydantic", "safetensors", "pillow", "pyarrow")
"""Dependencies of the packages below for prediction."""
MODULES = ("__init__.py", "errors.py", "randomness.py")
PACKAGES = ("job", "jobfile", "datasets", "architectures", "tasks", "inference")


@contextmanager
def packaged(model: Path) -> Iterator[dict[str, Any]]:
    """Yield the arguments of MLflow's pyfunc flavour for the folder of a saved model."""
    loaded = Model.load(model)
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
            "signature": signature(loaded),
            "input_example": example(model, loaded),
            "pip_requirements": [f"{name}=={_version(name)}" for name in (*REQUIREMENTS, "mlflow")],
        }


def signature(model: Model) -> ModelSignature:
    """Return the input and output schema of the served model."""
    shapes, output = model.fields.signature, model.fields.signature.output
    image = next(iter(shapes.images.values()), None)
    if can_sample(model.network) and image:
        classes = [ColSpec(DataType.string, "class")] if shapes.classes else []
        made = TensorSpec(np.dtype(np.uint8), (-1, image.height, image.width, image.channels))
        return ModelSignature(Schema([*classes, ColSpec(DataType.long, "seed")]), Schema([made]))
    if image and len(shapes.inputs) == 1:
        inputs = Schema([TensorSpec(np.dtype(np.uint8), (-1, image.height, image.width, image.channels))])
    else:
        types = {"number": DataType.double}
        inputs = Schema(
            [ColSpec(types.get(each.kind, DataType.string), each.name, required=False) for each in model.fields.inputs]
        )
    match output:
        case MaskOutput():
            outputs = Schema([TensorSpec(np.dtype(np.uint8), (-1, output.height, output.width))])
        case ClassOutput(names) | TagsOutput(names):
            chances = [ColSpec(DataType.float, f"probability/{name}") for name in names]
            outputs = Schema([ColSpec(DataType.string, "prediction"), *chances])
        case _:
            outputs = Schema([ColSpec(DataType.double, "prediction")])
    kinds = ParamSchema([ParamSpec("output_kind", DataType.string, "prediction")])
    return ModelSignature(inputs, outputs, kinds if can_encode(model.network) else None)


def example(folder: Path, model: Model) -> pd.DataFrame | np.ndarray:
    """Return the raw samples saved with the model, in the types of the signature."""
    if can_sample(model.network):
        classes = model.fields.signature.classes[:3]
        return pd.DataFrame({"class": list(classes), "seed": range(len(classes))} if classes else {"seed": [0]})
    content = json.loads((folder / "example.json").read_text(encoding="utf-8"))
    if isinstance(content, list):
        return np.array(content, np.uint8)
    frame = pd.DataFrame(content["data"], columns=content["columns"])
    for each in model.fields.inputs:
        if each.kind == "number":
            frame[each.name] = pd.to_numeric(frame[each.name], errors="coerce").astype(float)
        else:
            frame[each.name] = frame[each.name].astype("string").astype(object)
    return frame


def _version(package: str) -> str:
    return importlib.metadata.version(package).split("+")[0]  # a local version such as 2.0+cpu is not on PyPI
