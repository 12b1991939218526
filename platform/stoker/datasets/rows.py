"""Encoded rows as a table again."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from stoker.datasets.fields.category import CategoryField
from stoker.datasets.fields.number import NumberField
from stoker.datasets.fields.schema import Fields


def encoded_rows(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return (B, numbers + categories) float32 of `numbers` and `categories`, of which one may not be there."""
    return torch.cat([inputs[name].float() for name in ("numbers", "categories") if name in inputs], dim=1)


def decoded_rows(fields: Fields, rows: np.ndarray) -> pd.DataFrame:
    """Return the table of (N, numbers + categories) encoded rows, in the values of the data."""
    columns, place = {}, 0
    for each in fields.inputs:
        if isinstance(each, NumberField):
            columns[each.name] = each.decode(rows[:, place : place + each.width])
            place += each.width
    for each in fields.inputs:
        if isinstance(each, CategoryField):
            columns[each.name] = each.decode(rows[:, place])
            place += 1
    return pd.DataFrame({each.name: columns[each.name] for each in fields.inputs})


def column_names(fields: Fields) -> tuple[str, ...]:
    """Return the column that each of the numbers + categories of an encoded row is of."""
    numbers = [each.name for each in fields.inputs if isinstance(each, NumberField) for _ in range(each.width)]
    return (*numbers, *(each.name for each in fields.inputs if isinstance(each, CategoryField)))
