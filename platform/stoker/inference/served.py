"""The model as MLflow serves it: this file is stored with it as its code, beside a copy of the package."""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel

from stoker.inference.model import Model


class ServedModel(PythonModel):  # type: ignore[misc] - MLflow has no types
    """Answers `mlflow models serve` and `mlflow.pyfunc.load_model`."""

    def load_context(self, context: Any) -> None:
        """Load weights and encoders from the model's artifacts."""
        self._model = Model.load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict a table, or an array of pictures."""
        return self._model.predict(model_input)


mlflow.models.set_model(ServedModel())
