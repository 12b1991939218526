"""The noise in a picture (Ho et al. 2020), predicted by a moving average of the trained weights."""

import copy
import math

import torch
from torch import Tensor, nn

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective


class Denoising(Objective):
    def __init__(self, signature, width: int = 32, decay: float = 0.95) -> None:
        super().__init__()
        self.size = signature.image.channels * signature.image.height * signature.image.width
        self.decay = decay
        self.online = nn.Sequential(nn.Linear(self.size + 1, width), nn.SiLU(), nn.Linear(width, self.size))
        self.average = copy.deepcopy(self.online).requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        return self.average

    def turns(self, step: int):
        return ("online",)

    def groups(self):
        return {"online": self.online}

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        return {"loss": float(len(batch))}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        return {"loss": self._loss(self.online, batch, noise).total}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        return {"loss": self._loss(self.average, batch, noise)}, None

    @torch.no_grad()
    def after_step(self) -> None:
        for slow, fast in zip(self.average.parameters(), self.online.parameters(), strict=True):
            slow.lerp_(fast, 1 - self.decay)

    def _loss(self, network: nn.Module, batch: BatchLike, noise: NoiseLike) -> Loss:
        pictures = batch.inputs["image"].flatten(1)
        time, added = noise.uniform(1), noise.normal(self.size)
        angle = time * math.pi / 2
        mixed = angle.cos() * pictures + angle.sin() * added
        error = (network(torch.cat([mixed, time], dim=1)) - added).square().mean(dim=1)
        return Loss(error.sum(), error.new_tensor(float(len(batch))))
