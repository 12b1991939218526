"""The model for MLflow serving: MLflow stores this file as its code, with a copy of the package.

MLflow also runs this file when it stores the model: it imports torch only where a model is served.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel


class ServedModel(PythonModel):  # type: ignore[misc]  # MLflow has no types
    """The model of `mlflow models serve` and `mlflow.pyfunc.load_model`."""

    def load_context(self, context: Any) -> None:
        """Load weights and fields from the model's artifacts."""
        from stoker.inference.serving import Answering

        self._answering = Answering(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame | np.ndarray:
        """Predict a table or pictures; a generative model returns images of the requested classes.

        Pictures are an array of pixels (N, height, width[, channels]), or a list or a column of a table with paths,
        http(s) addresses, the bytes of files or base64 text of them.

        The parameter `output_kind` is `prediction`, or `code` where a network that answers has codes. A model that
        writes texts has the parameters of `stoker generate`: length, temperature, top_k, top_p, stop and seed.

        The type hint is no limit: MLflow reads type hints as a schema, and only this one as none.
        """
        return self._answering.answer(model_input, params or {})


mlflow.models.set_model(ServedModel())
