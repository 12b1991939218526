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

import stoker
from stoker.job.saved_model import EXAMPLE, FIELDS, ORIGIN, SIGNATURE

REQUIREMENTS = ("torch", "numpy", "pandas", "pydantic", "safetensors", "pillow", "pyarrow", "tokenizers")
"""Dependencies of the packages below for prediction."""
REQUIRED_BY = {"word-tags": ("seqeval",), "boxes": ("torchvision",)}
"""Further ones, by the kind of the target."""
PRETRAINED_REQUIREMENTS = ("transformers", "peft")
"""What a network on a pretrained model needs beside them."""
MODULES = ("__init__.py", "errors.py", "randomness.py")
PACKAGES = ("job", "jobfile", "datasets", "architectures", "tasks", "inference")


@contextmanager
def packaged(model: Path) -> Iterator[dict[str, Any]]:
    """Yield the arguments of MLflow's pyfunc flavour for the folder of a saved model."""
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
            "signature": ModelSignature.from_dict(json.loads((model / SIGNATURE).read_text(encoding="utf-8"))),
            "input_example": _example(model),
            "metadata": {"columns": _columns(model)},
            "pip_requirements": [f"{name}=={_version(name)}" for name in _requirements(model)],
        }


def _requirements(model: Path) -> list[str]:
    """Return the dependencies of a model."""
    target = json.loads((model / FIELDS).read_text(encoding="utf-8"))["target"]
    pretrained = PRETRAINED_REQUIREMENTS if (model / ORIGIN).exists() else ()
    return [*REQUIREMENTS, *REQUIRED_BY.get(target["kind"] if target else "", ()), *pretrained, "mlflow"]


def _columns(model: Path) -> dict[str, str]:
    """Return the kind of each input column."""
    inputs = json.loads((model / FIELDS).read_text(encoding="utf-8"))["inputs"]
    return {each["name"]: each["kind"] for each in inputs}


def _example(model: Path) -> pd.DataFrame | np.ndarray:
    """Return the raw samples saved with a model."""
    content = json.loads((model / EXAMPLE).read_text(encoding="utf-8"))
    if isinstance(content, list):
        return np.array(content, np.uint8)
    return pd.DataFrame(content["data"], columns=content["columns"])


def _version(package: str) -> str:
    return importlib.metadata.version(package).split("+")[0]  # a local version such as 2.0+cpu is not on PyPI
