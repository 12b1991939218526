"""The model as MLflow serves it: this file is stored with it as its code, beside a copy of the package."""

from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel

from stoker.inference.model import Model


class ServedModel(PythonModel):  # type: ignore[misc]  # MLflow has no types
    """Answers `mlflow models serve` and `mlflow.pyfunc.load_model`."""

    def load_context(self, context: Any) -> None:
        """Load weights and encoders from the model's artifacts."""
        self._model = Model.load(Path(context.artifacts["model"]))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Predict a table, or an array of pictures. Without type hints: MLflow would read them as a schema."""
        return self._model.predict(model_input)


mlflow.models.set_model(ServedModel())
