"""Answers the requests of a served model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from stoker.errors import JobError, Problem
from stoker.inference.generation import generate, generate_rows
from stoker.inference.model import Model, OutputKind, concatenated
from stoker.tasks.abilities import can_sample
from stoker.tasks.writing.settings import writing_of


class Answering:
    """A saved model that answers tables and pictures."""

    def __init__(self, folder: Path) -> None:
        self._model = Model.load(folder)

    def answer(self, request: Any, parameters: Mapping[str, Any]) -> pd.DataFrame | np.ndarray:
        """Predict a table, or pictures as arrays, paths, addresses, bytes of files or base64 text of them.

        A generative model returns images or rows of the requested classes. A model that writes continues or answers the
        text of each row; its parameters are those of `stoker generate`.

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
            return self._generated(request)
        answers = self._model.predict(_samples(request), kind)
        if answers.images is None or "prediction" in answers.table:  # such as a class with its heat map
            return answers.table
        return np.stack(list(answers.images))

    def _written(self, prompts: pd.DataFrame, parameters: Mapping[str, Any]) -> pd.DataFrame:
        seed = parameters.get("seed") or 0
        if seed < 0:
            raise JobError([Problem("seed", f"{seed} is below 0; use 0 or more")])
        records = self._model.records_of(prompts)
        return concatenated(
            list(self._model.written(records, writing_of(parameters, self._model.task.writing), seed))
        ).table

    def _generated(self, wanted: pd.DataFrame) -> pd.DataFrame | np.ndarray:
        """Make a sample for each row of a table with the columns `seed` and, for a model with classes, `class`."""
        asked = [(int(row["seed"]), (str(row["class"]),) if "class" in wanted else ()) for _, row in wanted.iterrows()]
        if not self._model.fields.signature.images:
            return pd.concat([generate_rows(self._model, 1, *each) for each in asked], ignore_index=True)
        return np.stack([pixels for each in asked for _, pixels in generate(self._model, 1, *each)])


def _samples(request: Any) -> pd.DataFrame | np.ndarray:
    """Return a request as a table or an array: one of pictures may be a list of them, or a single one."""
    if isinstance(request, pd.DataFrame | np.ndarray):
        return request
    if isinstance(request, Mapping):
        return pd.DataFrame({name: list(values) for name, values in request.items()})
    cells = list(request) if isinstance(request, list | tuple | pd.Series) else [request]
    if all(isinstance(cell, str | bytes | Path) for cell in cells):
        return np.array(cells, object)
    try:
        return np.array(cells)
    except ValueError as error:
        raise JobError([Problem("", "the pictures of a request differ in size; send each as a file")]) from error
