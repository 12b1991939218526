"""Boxes in pictures, any number in each: where something is (of all cells), and its place (of the found ones alone)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective


class Boxes(Objective):
    """The boxes are the bright quarters of a picture: from none to four, each with its centre of brightness."""

    def __init__(self, signature, width: int = 16, bright: float = 0.4) -> None:
        super().__init__()
        self.half = signature.image.height // 2
        self.bright = bright
        size = signature.image.channels * signature.image.height * signature.image.width
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.ReLU(), nn.Linear(width, 4 * 3))

    def turns(self, step: int):
        return ("network",)

    def groups(self):
        return {"network": self.network}

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        owner, _, _ = self._boxes(batch.inputs["image"].mean(dim=1))
        return {"objectness": 4.0 * len(batch), "box": float(len(owner))}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        return {term: loss.total for term, loss in self._losses(batch).items()}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        return self._losses(batch), None

    def _losses(self, batch: BatchLike) -> dict[str, Loss]:
        pictures = batch.inputs["image"]
        cells = self.network(pictures).view(-1, 4, 3)
        owner, place, box = self._boxes(pictures.mean(dim=1))
        there = torch.zeros(len(pictures), 4, device=pictures.device)
        there[owner, place] = 1.0
        found = functional.binary_cross_entropy_with_logits(cells[..., 0], there, reduction="sum")
        off = functional.smooth_l1_loss(cells[owner, place, 1:], box, reduction="sum")
        return {
            "objectness": Loss(found, found.new_tensor(float(there.numel()))),
            "box": Loss(off, off.new_tensor(float(len(box)))),
        }

    def _boxes(self, grey: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return picture, quarter and (x, y) of each box, in one ragged list."""
        quarters = (grey + 1).unfold(1, self.half, self.half).unfold(2, self.half, self.half).flatten(1, 2)
        ramp = torch.linspace(0, 1, self.half, device=grey.device)
        weight = quarters.sum(dim=(2, 3)).clamp(min=1e-6)
        centre = torch.stack(
            [(quarters.sum(dim=2) * ramp).sum(2) / weight, (quarters.sum(dim=3) * ramp).sum(2) / weight], dim=2
        )
        owner, place = (quarters.mean(dim=(2, 3)) > self.bright).nonzero(as_tuple=True)
        return owner, place, centre[owner, place]
