"""A network of one's own: it sees a picture by its rows and by its columns."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class TwoViews(nn.Module):
    """Reads the rows and the columns of a picture with the same kind of layer, and weighs both.

    `signature` is given by Stoker and says what one sample and one output look like; `width` stands in the job.
    `forward` takes the inputs by their names: a picture is `image`, (B, channels, height, width). `encode` is optional:
    `stoker predict @last --input digits --output-kind code` writes what it returns.
    """

    def __init__(self, signature, width: int = 32) -> None:
        super().__init__()
        picture, classes = signature.image, len(signature.classes)
        self.rows = nn.Linear(picture.channels * picture.width, width)
        self.columns = nn.Linear(picture.channels * picture.height, width)
        self.head = nn.Linear(width * (picture.height + picture.width), classes)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, classes) logits."""
        return self.head(self.encode({"image": image}))

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, width * (height + width of the picture)) codes."""
        image = inputs["image"]
        rows = self.rows(image.permute(0, 2, 1, 3).flatten(2))
        columns = self.columns(image.permute(0, 3, 1, 2).flatten(2))
        return torch.cat([rows, columns], dim=1).relu().flatten(1)
