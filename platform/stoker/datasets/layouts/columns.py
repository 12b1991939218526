"""Columns that are read, and one that is learnt or none: each record is a sample."""

from dataclasses import dataclass
from typing import Self

from stoker.datasets.fields.field import InputField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.inference import Roles
from stoker.datasets.fields.kinds import CUT, INPUT_FIELDS, TARGET_FIELDS
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.layouts.layout import Layout
from stoker.datasets.records import Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.task import Kind


@dataclass(frozen=True)
class Columns(Layout):
    """Fields that are fitted each to its own column."""

    @classmethod
    def fit(cls, records: Records, roles: Roles, kind: Kind, settings: Dataset) -> Self:
        """Fit each field.

        Raises:
            JobError: masks are invalid, or differ in size from their images.

        """
        inputs = fitted_inputs(records, roles, settings)
        if not roles.target:
            return cls(inputs, None)
        target = TARGET_FIELDS[kind].fit(roles.target, records.columns[roles.target], settings)
        if isinstance(target, MaskField):
            _check_sizes(target, inputs)
        return cls(inputs, target)


def fitted_inputs(records: Records, roles: Roles, settings: Dataset) -> tuple[InputField, ...]:
    """Return fields that are fitted to the input columns."""
    cut = CUT if settings.text.tokenizer else {}
    return tuple(
        INPUT_FIELDS[cut.get(kind, kind)].fit(name, records.columns[name], settings)
        for name, kind in roles.inputs.items()
    )


def _check_sizes(mask: MaskField, inputs: tuple[InputField, ...]) -> None:
    for image in inputs:
        if isinstance(image, ImageField) and (image.height, image.width) != (mask.height, mask.width):
            size = f"{image.height}x{image.width}"
            message = f"the masks are {mask.height}x{mask.width}, the images of column '{image.name}' {size}"
            raise JobError([Problem("dataset.source", message)])
