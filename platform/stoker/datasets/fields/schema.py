"""All fields of a dataset: fitted on the training part, applied to every part and by the model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from stoker.datasets.fields.field import InputField, TargetField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.kinds import INPUT_FIELDS, TARGET_FIELDS
from stoker.datasets.fields.number import as_numbers
from stoker.datasets.fields.texts.dialogue import DialogueField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.text_sizes import require_texts
from stoker.datasets.fields.texts.word_pieces import WordPiecesField
from stoker.datasets.fields.texts.words import WordsField
from stoker.datasets.layouts.columns import Columns
from stoker.datasets.layouts.dialogues import Dialogues
from stoker.datasets.layouts.kinds import BY_OWN, LAYOUTS, layout_class
from stoker.datasets.layouts.layout import Layout, Own
from stoker.datasets.records import Records
from stoker.datasets.samples import Samples
from stoker.datasets.tokens.tokenizer import Tokenizer
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.saved_model import ASSETS, FIELDS
from stoker.job.signature import Signature
from stoker.job.task import Kind


@dataclass(frozen=True)
class Fields:
    """Encodes raw records as tensors, and decodes predictions."""

    inputs: tuple[InputField, ...]
    target: TargetField | None
    own: Own | None = None
    """What is learnt of the only text itself, in place of a target."""

    @staticmethod
    def fit(records: Records, roles: Roles, target: Kind, settings: Dataset) -> "Fields":
        """Fit all fields to the records of the training part.

        Raises:
            JobError: all texts are empty, or the records do not fit each other, such as masks that differ in size from
                their images.

        """
        kind = LAYOUTS.get(target, Columns)
        if not kind.joins:
            _require_texts(records, roles, target)
        layout = kind.fit(records, roles, target, settings)
        return Fields(layout.inputs, layout.target, layout.own)

    @cached_property
    def layout(self) -> Layout:
        """Return how records become samples."""
        kind = self.target.kind if self.target else None
        return layout_class(kind, self.own)(self.inputs, self.target, self.own)

    @cached_property
    def signature(self) -> Signature:
        """Return the shapes of inputs and output."""
        return self.layout.signature

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that a prediction needs."""
        return tuple(each.name for each in self.inputs)

    def encode(self, records: Records, target: bool = True, weight: str | None = None) -> Samples:
        """Encode records, as their layout says.

        Args:
            records: with all of `columns`.
            target: whether to encode what is learnt, too.
            weight: the column with the weight of each record.

        Raises:
            JobError: a value does not fit its field.

        """
        weights = torch.from_numpy(as_weights(records, weight)) if weight else None
        samples = self.layout.encode(records, target)
        return samples if weights is None else replace(samples, weight=weights[samples.ids])

    def gather(self, samples: Samples, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the inputs of some rows, prepared for the network."""
        return self.layout.gather(samples, index)

    def check(self, records: Records, *others: str) -> None:
        """Check that records have all of `columns` and `others`.

        Raises:
            JobError: some are missing.

        """
        if missing := [name for name in (*others, *self.columns) if name not in records.columns]:
            there = ", ".join(records.columns)
            raise JobError([Problem("", f"the input lacks the columns {', '.join(missing)} (it has: {there})")])

    @property
    def image(self) -> ImageField:
        """Return the only image field."""
        (found,) = [each for each in self.inputs if isinstance(each, ImageField)]
        return found

    @property
    def text(self) -> TextField:
        """Return the only text field."""
        (found,) = [each for each in self.inputs if isinstance(each, TextField)]
        return found

    @property
    def dialogues(self) -> Dialogues:
        """Return the layout of dialogues."""
        assert isinstance(self.layout, Dialogues)
        return self.layout

    @property
    def tokenizer(self) -> Tokenizer:
        """Return what cuts the only text, sentence, dialogue, or question with its text."""
        texts = (each.text if isinstance(each, WordPiecesField) else each for each in self.inputs)
        return next(each.tokenizer for each in texts if isinstance(each, TextField | DialogueField))

    @property
    def words(self) -> WordsField | WordPiecesField:
        """Return the only field of words."""
        (found,) = [each for each in self.inputs if isinstance(each, WordsField | WordPiecesField)]
        return found

    def assets(self) -> dict[str, str]:
        """Return the files of all fields."""
        fields = (*self.inputs, *([self.target] if self.target else []))
        return {name: text for each in fields for name, text in each.assets().items()}

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values, without `assets`."""
        return {
            "inputs": [{"kind": each.kind, **each.to_json()} for each in self.inputs],
            "target": {"kind": self.target.kind, **self.target.to_json()} if self.target else None,
            "own": {"kind": type(self.own).__name__, **asdict(self.own)} if self.own else None,
        }

    def save(self, folder: Path) -> None:
        """Write fields.json and assets/ to the folder of a model."""
        (folder / FIELDS).write_text(json.dumps(self.to_json(), indent=1), encoding="utf-8")
        for name, text in self.assets().items():
            (folder / ASSETS).mkdir(exist_ok=True)
            (folder / ASSETS / name).write_text(text, encoding="utf-8")

    @staticmethod
    def from_json(content: Mapping[str, Any], assets: Mapping[str, str]) -> "Fields":
        """Rebuild fields from `to_json` and `assets`."""
        inputs = []
        for each in map(dict, content["inputs"]):
            inputs.append(INPUT_FIELDS[cast("Kind", each.pop("kind"))].from_json(each, assets))
        if content["target"] is None:
            own = dict(content.get("own") or {})
            learns = BY_OWN[own.pop("kind")].learns if own else None
            return Fields(tuple(inputs), None, learns(**own) if learns else None)
        target = dict(content["target"])
        return Fields(tuple(inputs), TARGET_FIELDS[cast("Kind", target.pop("kind"))].from_json(target, assets))


def _require_texts(records: Records, roles: Roles, target: Kind) -> None:
    """Check that no column of texts is empty.

    Raises:
        JobError: one is.

    """
    for name, kind in roles.inputs.items():
        if kind in ("text", "words"):
            require_texts("dataset.columns.features", name, records.columns[name])
    if target == "text":
        require_texts("dataset.columns.label", roles.target, records.columns[roles.target])


def as_weights(records: Records, name: str) -> np.ndarray:
    """Read a column as (N,) float32 weights.

    Raises:
        JobError: a weight is missing or below 0.

    """
    column = records.columns[name]
    values = as_numbers(column)
    bad = np.flatnonzero(~(values >= 0))
    if len(bad):
        first = int(bad[0])
        value = records.frame[name].iloc[first]
        message = f"'{value}' in column '{name}', row {first + 1}, is not a weight of 0 or more"
        raise JobError([Problem("dataset.columns.weight", message)])
    return values.astype(np.float32)
