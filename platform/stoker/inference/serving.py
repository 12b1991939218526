"""Answers the requests of a served model."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from stoker.errors import JobError, Problem
from stoker.inference.generation import generate
from stoker.inference.model import Model, OutputKind
from stoker.tasks.abilities import can_sample


class Answering:
    """A saved model that answers tables and arrays of images."""

    def __init__(self, folder: Path) -> None:
        self._model = Model.load(folder)

    def answer(self, request: Any, parameters: Mapping[str, Any]) -> pd.DataFrame | np.ndarray:
        """Predict a table or an array of images; a generative model returns images of the requested classes.

        Raises:
            JobError: the request does not fit the model, or the parameter `output_kind` is not one of `OutputKind`.

        """
        kind = parameters.get("output_kind", "prediction")
        if kind not in get_args(OutputKind):
            raise JobError([Problem("", f"output_kind '{kind}' is none of {', '.join(get_args(OutputKind))}")])
        if can_sample(self._model.network):
            return np.stack([pixels for _, pixels in self._generated(request)])
        answers = self._model.predict(request, kind)
        return answers.table if answers.images is None else answers.images

    def _generated(self, wanted: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
        """Generate an image for each row of a table with the columns `seed` and, for a model with classes, `class`."""
        for _, row in wanted.iterrows():
            classes = (str(row["class"]),) if "class" in wanted else ()
            yield from generate(self._model, 1, int(row["seed"]), classes)
