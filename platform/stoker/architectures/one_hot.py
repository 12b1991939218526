"""Rows of a table as vectors: numbers as they are, each category as one of several places."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from stoker.job.signature import CategoriesInput, NumbersInput, Signature


class OneHotRows:
    """Numbers, then for each category column a place for each value, 1 for the value of the row and -1 for others.

    Args:
        signature: of numbers and categories.

    """

    def __init__(self, signature: Signature) -> None:
        self.numbers, self.sizes = signature.numbers, signature.categories
        self.width = self.numbers + sum(self.sizes)

    def vectors(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, width) float32."""
        parts = [inputs["numbers"].float()] if self.numbers else []
        if self.sizes:
            columns = zip(inputs["categories"].unbind(1), self.sizes, strict=True)
            parts += [2 * functional.one_hot(column, size).float() - 1 for column, size in columns]
        return torch.cat(parts, dim=1)

    def rows(self, vectors: Tensor) -> Tensor:
        """Return (B, numbers + categories) of (B, width): the numbers, and the likeliest value of each category."""
        numbers, *categories = torch.split(vectors.float(), [self.numbers, *self.sizes], dim=1)
        return torch.cat([numbers, *(each.argmax(dim=1, keepdim=True).float() for each in categories)], dim=1)


def holds_rows(signature: Signature) -> bool:
    """Return whether a sample consists of numbers and categories alone."""
    return all(isinstance(shape, NumbersInput | CategoriesInput) for shape in signature.inputs.values())
