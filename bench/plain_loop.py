"""The loop of a tutorial: the peer of the benchmarks that train an image classifier in one process."""

from collections.abc import Iterator

import torch
from torch.nn import functional
from torch.optim import AdamW, lr_scheduler
from torch.utils.data import DataLoader, Sampler, TensorDataset

from stoker.architectures.network import build_network
from stoker.datasets.columns import Dense
from stoker.randomness import generator
from stoker.training.preparation import Prepared


class SameOrder(Sampler[int]):
    """The platform's order of samples, so that both arms train on the same batches."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed, self._epoch = count, seed, 0

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self._count, generator=generator(self._seed, "order", self._epoch))
        self._epoch += 1
        return iter(order.tolist())

    def __len__(self) -> int:
        return self._count


def plain_steps(prepared: Prepared, device: torch.device) -> Iterator[torch.Tensor | None]:
    """Train with torch's defaults; yield the loss of each step, and None after each epoch."""
    torch.manual_seed(prepared.job.training.seed)
    network = build_network(prepared.architecture, prepared.data.fields.signature).to(device)
    samples, field = prepared.data.parts["train"], prepared.data.fields.image
    pixels, every_label = samples.inputs["image"], samples.target
    assert isinstance(pixels, Dense)
    assert isinstance(every_label, Dense)
    every_image = field.prepare(pixels.values).contiguous()
    samplers = SameOrder(len(samples), prepared.job.training.seed)
    loader = DataLoader(
        TensorDataset(every_image, every_label.values), batch_size=prepared.batch_size, sampler=samplers
    )
    parameters = list(network.parameters())
    optimizer = AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.01},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=2e-3,
    )
    warmup = round(0.05 * prepared.steps)
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=prepared.steps - warmup)
    scheduler = lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warmup])
    network.train()
    while True:
        for images, labels in loader:
            loss = functional.cross_entropy(network({"image": images.to(device)}), labels.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            optimizer.step()
            scheduler.step()
            yield loss.detach()
        yield None
