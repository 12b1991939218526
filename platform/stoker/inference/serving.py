"""Answers the requests of a served model."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from stoker.errors import JobError, Problem
from stoker.inference.generation import generate
from stoker.inference.model import Model, OutputKind, concatenated
from stoker.tasks.abilities import can_sample
from stoker.tasks.writing.settings import writing_of


class Answering:
    """A saved model that answers tables and arrays of images."""

    def __init__(self, folder: Path) -> None:
        self._model = Model.load(folder)

    def answer(self, request: Any, parameters: Mapping[str, Any]) -> pd.DataFrame | np.ndarray:
        """Predict a table or an array of images; a generative model returns images of the requested classes.

        A model that writes continues or answers the text of each row; its parameters are those of `stoker generate`.

        Raises:
            JobError: the request does not fit the model, the parameter `output_kind` is not one of `OutputKind`, or one
                of a text is out of its range.

        """
        if self._model.task.writes:
            return self._written(request, parameters)
        kind = parameters.get("output_kind", "prediction")
        if kind not in get_args(OutputKind):
            raise JobError([Problem("", f"output_kind '{kind}' is none of {', '.join(get_args(OutputKind))}")])
        if can_sample(self._model.network):
            return np.stack([pixels for _, pixels in self._generated(request)])
        answers = self._model.predict(request, kind)
        return answers.table if answers.images is None else answers.images

    def _written(self, prompts: pd.DataFrame, parameters: Mapping[str, Any]) -> pd.DataFrame:
        seed = parameters.get("seed") or 0
        if seed < 0:
            raise JobError([Problem("seed", f"{seed} is below 0; use 0 or more")])
        records = self._model.records_of(prompts)
        return concatenated(
            list(self._model.written(records, writing_of(parameters, self._model.task.writing), seed))
        ).table

    def _generated(self, wanted: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
        """Generate an image for each row of a table with the columns `seed` and, for a model with classes, `class`."""
        for _, row in wanted.iterrows():
            classes = (str(row["class"]),) if "class" in wanted else ()
            yield from generate(self._model, 1, int(row["seed"]), classes)
