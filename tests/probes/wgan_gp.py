"""Rows of a table from noise: a Wasserstein GAN with gradient penalty (Gulrajani 2017), two critic turns a step."""

import torch
from torch import Tensor, nn

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective


class WganGp(Objective):
    def __init__(self, signature, latent: int = 4, width: int = 16, penalty: float = 10.0) -> None:
        super().__init__()
        numbers = signature.numbers
        self.latent, self.penalty = latent, penalty
        self.generator = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, numbers))
        self.critic = nn.Sequential(nn.Linear(numbers, width), nn.LeakyReLU(0.2), nn.Linear(width, 1))

    @property
    def network(self) -> nn.Module:
        return self.generator

    def turns(self, step: int):
        return ("critic", "critic", "generator")

    def groups(self):
        return {"critic": self.critic, "generator": self.generator}

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        return {turn: float(len(batch))}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        real = batch.inputs["numbers"]
        fake = self.generator(noise.normal(self.latent))
        if turn == "generator":
            return {"generator": -self.critic(fake).sum()}
        mix = noise.uniform(1)
        between = (mix * real + (1 - mix) * fake.detach()).requires_grad_(True)
        slope = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)[0]
        slope_loss = self.penalty * ((slope.square().sum(dim=1) + 1e-12).sqrt() - 1).square().sum()
        distance = self.critic(fake.detach()).sum() - self.critic(real).sum()
        return {"critic": distance + slope_loss}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        fake = self.generator(noise.normal(self.latent))
        gap = (fake.mean(dim=0) - batch.inputs["numbers"].mean(dim=0)).square().sum()
        count = gap.new_tensor(float(len(batch)))
        return {"loss": Loss(gap * count, count)}, None
