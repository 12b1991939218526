"""The model for MLflow serving: MLflow stores this file as its code, with a copy of the package.

MLflow also runs this file when it stores the model: it imports torch only where a model is served.
"""

from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel


class ServedModel(PythonModel):  # type: ignore[misc]  # MLflow has no types
    """The model of `mlflow models serve` and `mlflow.pyfunc.load_model`."""

    def load_context(self, context: Any) -> None:
        """Load weights and fields from the model's artifacts."""
        from stoker.inference.serving import Answering

        self._answering = Answering(Path(context.artifacts["model"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Predict a table or an array of images; a generative model returns images of the requested classes.

        The parameter `output_kind` is `prediction`, or `code` where a network that answers has codes.

        Without type hints: MLflow would read them as a schema.
        """
        return self._answering.answer(model_input, params or {})


mlflow.models.set_model(ServedModel())
