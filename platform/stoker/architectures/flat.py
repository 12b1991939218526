"""Any sample as one row of numbers: what the dense families stand on."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stoker.job.signature import ClassOutput, ImageInput, Signature


class Flat(nn.Module):
    """Turn inputs into (B, width): numbers as they are, an embedding for each category, pictures pixel by pixel."""

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        if isinstance(signature.input, ImageInput):
            shape = signature.input
            self.width = shape.channels * shape.height * shape.width
            self.embeddings = nn.ModuleList()
        else:
            sizes = [(values, embedding_width(values)) for values in signature.input.categories]
            self.embeddings = nn.ModuleList(nn.Embedding(values, width) for values, width in sizes)
            self.width = signature.input.numbers + sum(width for _, width in sizes)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, width)."""
        if "image" in inputs:
            return inputs["image"].flatten(1)
        if not self.embeddings:
            return inputs["numbers"]
        codes = inputs["categories"].unbind(1)
        embedded = [embedding(code) for embedding, code in zip(self.embeddings, codes, strict=True)]
        return torch.cat([inputs["numbers"], *embedded], dim=1)


def embedding_width(values: int) -> int:
    """Size of a category's embedding: the rule of thumb of fastai's tabular learner, 1.6 n^0.56."""
    return min(64, max(1, round(1.6 * math.pow(values, 0.56))))


def outputs(signature: Signature) -> int:
    """Count the numbers a network returns for one sample."""
    return len(signature.output.classes) if isinstance(signature.output, ClassOutput) else 1


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
