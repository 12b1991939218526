"""The model for MLflow serving: MLflow stores this file as its code, with a copy of the package."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel

from stoker.errors import JobError, Problem
from stoker.inference.generation import generate
from stoker.inference.model import Model, OutputKind
from stoker.tasks.abilities import can_sample


class ServedModel(PythonModel):  # type: ignore[misc]  # MLflow has no types
    """The model of `mlflow models serve` and `mlflow.pyfunc.load_model`."""

    def load_context(self, context: Any) -> None:
        """Load weights and fields from the model's artifacts."""
        self._model = Model.load(Path(context.artifacts["model"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Predict a table or an array of images; a generative model returns images of the requested classes.

        The parameter `output_kind` is `prediction`, or `code` where a network that answers has codes.

        Without type hints: MLflow would read them as a schema.
        """
        kind = (params or {}).get("output_kind", "prediction")
        if kind not in get_args(OutputKind):
            raise JobError([Problem("", f"output_kind '{kind}' is none of {', '.join(get_args(OutputKind))}")])
        if can_sample(self._model.network):
            return np.stack([pixels for _, pixels in self._made(model_input)])
        answers = self._model.predict(model_input, kind)
        return answers.table if answers.images is None else answers.images

    def _made(self, wanted: Any) -> Iterator[tuple[str, np.ndarray]]:
        """Generate an image for each row of a table with the columns `seed` and, for a model with classes, `class`."""
        for _, row in wanted.iterrows():
            classes = (str(row["class"]),) if "class" in wanted else ()
            yield from generate(self._model, 1, int(row["seed"]), classes)


mlflow.models.set_model(ServedModel())
