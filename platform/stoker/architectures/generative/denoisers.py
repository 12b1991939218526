"""Networks that tell what is noise: a U-Net for images, and layers for codes."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.attention import attention
from stoker.architectures.layers import Norm

GROUPS = 8
HEAD = 32
"""Channels of a head of attention."""
LONGEST = 10_000.0
"""Longest wave of a time, divided by 2 pi (Vaswani et al. 2017)."""


class Condition(nn.Module):
    """What a denoiser is told of each image: the level of noise, and its class, if that is not kept from it.

    Args:
        waves: numbers that a time is turned into.
        width: of what is told.
        classes: of the data; 0: it has none.

    """

    def __init__(self, waves: int, width: int, classes: int) -> None:
        super().__init__()
        self.waves, self.unknown = waves, classes
        self.time = nn.Sequential(nn.Linear(waves, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, times: Tensor, classes: Tensor | None) -> Tensor:
        """Return (B, width) from (B,) times and (B,) classes, of which number `unknown` stands for none."""
        half = self.waves // 2
        speeds = LONGEST ** (-torch.arange(half, device=times.device, dtype=torch.float32) / half)
        angles = times.float()[:, None] * speeds
        told: Tensor = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        if self.classes is not None:
            places = torch.full_like(times, self.unknown, dtype=torch.int64) if classes is None else classes
            told = told + self.classes(places)
        return functional.silu(told)


class DenoisingUnet(nn.Module):
    """A U-Net of residual blocks, each of which is told the level of noise and the class (Dhariwal and Nichol 2021).

    Args:
        image_channels: of the images.
        side: of the images, the longer one.
        channels: of each stage; all but the first one have maps of half the size of the one before.
        blocks: of each stage.
        attention_side: most pixels a side of maps that have attention.
        patch: pixels a side that become one pixel of the first maps.
        dropout: share of the maps that is switched off while training.
        classes: of the data.

    """

    def __init__(
        self,
        image_channels: int,
        side: int,
        channels: tuple[int, ...],
        blocks: int,
        attention_side: int,
        patch: int,
        dropout: float,
        classes: int,
    ) -> None:
        super().__init__()
        self.patch = patch
        width = 4 * channels[0]
        self.condition = Condition(2 * (channels[0] // 2), width, classes)
        sides = [-(-side // patch)]
        for _ in channels[1:]:
            sides.append(-(-sides[-1] // 2))

        def block(before: int, after: int, stage: int) -> _Block:
            return _Block(before, after, width, dropout, sides[stage] <= attention_side)

        self.first = nn.Conv2d(image_channels * patch**2, channels[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        skips, now = [channels[0]], channels[0]
        for stage, after in enumerate(channels):
            if stage:
                self.shrink.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                skips.append(now)
            self.down.append(nn.ModuleList(block(now if not n else after, after, stage) for n in range(blocks)))
            now = after
            skips += [after] * blocks
        self.middle = nn.ModuleList([_Block(now, now, width, dropout, True), _Block(now, now, width, dropout, False)])
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for stage, after in reversed(list(enumerate(channels))):
            stages = []
            for _ in range(blocks + 1):
                stages.append(block(now + skips.pop(), after, stage))
                now = after
            self.up.append(nn.ModuleList(stages))
            if stage:
                self.grow.append(nn.Conv2d(now, now, 3, padding=1))
        self.output = nn.Sequential(
            Norm(math.gcd(GROUPS, now), now),
            nn.SiLU(),
            _silent(nn.Conv2d(now, image_channels * patch**2, 3, padding=1)),
        )

    def forward(self, images: Tensor, times: Tensor, classes: Tensor | None) -> Tensor:
        """Return (B, channels, height, width), what is asked for, from noised images of that shape."""
        told = self.condition(times, classes)
        maps = self.first(functional.pixel_unshuffle(images, self.patch) if self.patch > 1 else images)
        skips = [maps]
        for number, stage in enumerate(self.down):
            if number:
                maps = self.shrink[number - 1](maps)
                skips.append(maps)
            for block in stage:  # type: ignore[attr-defined] # a list of modules
                maps = block(maps, told)
                skips.append(maps)
        for block in self.middle:
            maps = block(maps, told)
        for number, stage in enumerate(self.up):
            if number:
                maps = self.grow[number - 1](functional.interpolate(maps, size=skips[-1].shape[2:]))
            for block in stage:  # type: ignore[attr-defined] # a list of modules
                maps = block(torch.cat([maps, skips.pop()], dim=1), told)
        result: Tensor = self.output(maps)
        return functional.pixel_shuffle(result, self.patch) if self.patch > 1 else result


class DenoisingLayers(nn.Module):
    """Residual layers for codes, each of which is told the level of noise and the class.

    Args:
        code: numbers of a code.
        widths: of the hidden layers.
        dropout: share of their numbers that is switched off while training.
        classes: of the data.

    """

    def __init__(self, code: int, widths: tuple[int, ...], dropout: float, classes: int) -> None:
        super().__init__()
        width = widths[0]
        self.condition = Condition(2 * (width // 2), width, classes)
        self.first = nn.Linear(code, width)
        self.layers = nn.ModuleList(_Layer(width, inner, dropout) for inner in widths)
        self.output = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), _silent(nn.Linear(width, code)))

    def forward(self, codes: Tensor, times: Tensor, classes: Tensor | None) -> Tensor:
        """Return (B, code), what is asked for, from noised codes of that shape."""
        told, states = self.condition(times, classes), self.first(codes)
        for layer in self.layers:
            states = layer(states, told)
        result: Tensor = self.output(states)
        return result


class _Layer(nn.Module):
    """Two layers with a shortcut around them; what is told changes scale and level before them."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.told = nn.Linear(width, 2 * width)
        self.body = nn.Sequential(
            nn.Linear(width, inner), nn.SiLU(), nn.Dropout(dropout), _silent(nn.Linear(inner, width))
        )

    def forward(self, states: Tensor, told: Tensor) -> Tensor:
        scale, level = self.told(told).chunk(2, dim=1)
        result: Tensor = states + self.body(self.norm(states) * (1 + scale) + level)
        return result


class _Block(nn.Module):
    """Two convolutions with a shortcut around them, and perhaps attention; what is told changes scale and level."""

    def __init__(self, before: int, after: int, told: int, dropout: float, attends: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(
            Norm(math.gcd(GROUPS, before), before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)
        )
        self.told = nn.Linear(told, 2 * after)
        self.norm = Norm(math.gcd(GROUPS, after), after)
        self.second = nn.Sequential(nn.SiLU(), nn.Dropout2d(dropout), _silent(nn.Conv2d(after, after, 3, padding=1)))
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.attention = _Attention(after) if attends else None

    def forward(self, maps: Tensor, told: Tensor) -> Tensor:
        scale, level = self.told(told)[..., None, None].chunk(2, dim=1)
        changed = self.norm(self.first(maps)) * (1 + scale) + level
        result: Tensor = self.shortcut(maps) + self.second(changed)
        return result if self.attention is None else self.attention(result)


class _Attention(nn.Module):
    """Attention of each pixel to all others, with a shortcut around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD)
        while channels % self.heads:
            self.heads -= 1
        self.norm = Norm(math.gcd(GROUPS, channels), channels)
        self.mixed = nn.Conv2d(channels, 3 * channels, 1)
        self.output = _silent(nn.Conv2d(channels, channels, 1))

    def forward(self, maps: Tensor) -> Tensor:
        mixed = self.mixed(self.norm(maps)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(3, 4)
        query, key, value = mixed.unbind(dim=1)
        attended = attention(query, key, value, None)
        result: Tensor = maps + self.output(attended.transpose(2, 3).reshape(maps.shape))
        return result


def _silent(layer: nn.Module) -> nn.Module:
    """Return a layer that puts out zeros before it has learnt, so that a block begins as its shortcut."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
