"""Normalisation inside a backbone that does not depend on what else is in a batch."""

import torch
from torch import nn

from stoker.architectures.layers import Norm

GROUPS, LEAST_CHANNELS = 32, 8
"""Most groups, which Wu and He (2018) found best for ResNets, and fewest channels of one: smaller groups on maps of a
few pixels have hardly any deviation, and dividing by it enlarges rounding errors."""


def with_group_norm(model: nn.Module) -> None:
    """Put group normalisation in the place of each batch normalisation, with its initial weights.

    Statistics of a batch would differ between one worker and two, and between micro-batches.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, _grouped(child))


def _grouped(batch: nn.modules.batchnorm._BatchNorm) -> nn.Module:
    norm = Norm(group_count(batch.num_features), batch.num_features)
    if batch.affine:
        with torch.no_grad():
            norm.weight.copy_(batch.weight)
            norm.bias.copy_(batch.bias)
    behind = [getattr(batch, name, None) for name in ("drop", "act")]  # timm's layer has the activation inside
    parts = [each for each in behind if isinstance(each, nn.Module) and not isinstance(each, nn.Identity)]
    return Normalised(norm, parts) if parts else norm


def group_count(channels: int) -> int:
    """Return into how many groups of equal size channels are divided."""
    most = max(1, min(GROUPS, channels // LEAST_CHANNELS))
    return next(count for count in range(most, 0, -1) if channels % count == 0)


class Normalised(nn.Module):
    """Normalisation with an activation behind it."""

    def __init__(self, norm: Norm, behind: list[nn.Module]) -> None:
        super().__init__()
        self.norm = norm
        self.behind = nn.Sequential(*behind)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps of the same shape."""
        result: torch.Tensor = self.behind(self.norm(maps))
        return result


def keep_statistics(model: nn.Module) -> None:
    """Set each batch normalisation to use, and not to change, the statistics that came with its weights."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
