"""Random augmentation of images, drawn for each sample: of geometry, then of colours, then erased rectangles."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from stoker.datasets.pictures.moved_boxes import moved_boxes
from stoker.datasets.pictures.rectangles import inside_rectangles
from stoker.randomness import Noise

SHIFT = 1 / 8
"""Largest shift of `crop`, as a share of the side."""
TURN = math.radians(15)
ZOOM = 0.5
"""Smallest part of an image that `zoom` enlarges, as a share of its area."""
BRIGHTNESS = 0.25
"""Largest change of brightness of `jitter`, in standard deviations of the training set."""
CONTRAST = 0.2
SATURATION = 0.3
ERASED_SHARE = 0.5
"""Share of the images of which `erase` erases a part."""
ERASED_AREA = (0.02, 0.2)
"""Smallest and largest part of an image that is erased, as a share of its area."""
ERASED_ASPECT = 3.0
"""Longest side of an erased rectangle, in shorter sides."""
STRENGTHS = {
    "turn": math.radians(30),
    "shear_x": 0.3,
    "shear_y": 0.3,
    "right": 0.4,
    "down": 0.4,
    "zoom": 0.3,
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.7,
    "sharpness": 0.7,
}
"""What `randaugment` draws from, with the largest change to either side; shifts in halves of the side."""
DRAWN = 2
"""Changes that `randaugment` draws for an image; torchvision's draws from the process's one generator, image by image,
so that the result would depend on how a batch is divided."""
GEOMETRIC = frozenset({"flip", "turn", "crop", "zoom", "rotate", "randaugment"})
COLOURS = frozenset({"jitter", "randaugment"})


def augment(
    images: torch.Tensor,
    names: tuple[str, ...],
    noise: Noise,
    masks: torch.Tensor | None = None,
    boxes: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Augment each image independently, and transform its mask or its boxes with it.

    All geometric changes are one affine sampling with border padding.

    Args:
        images: (B, channels, height, width) float32, standardised.
        names: the changes of dataset.image.augment.
        noise: random numbers for each row.
        masks: (B, height, width) class numbers.
        boxes: (B, n, 5) class and sides, in place of masks.

    Returns:
        Images, and masks or boxes, of the same shapes.

    """
    if not names or len(images) == 0:
        return images, masks if boxes is None else boxes
    changes = _drawn(images, frozenset(names), noise)
    if GEOMETRIC & set(names):
        matrix = changes.matrix(images)
        grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
        moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        images = moved.contiguous(memory_format=torch.channels_last)
        if masks is not None:
            layer = masks.unsqueeze(1).float()
            turned = functional.grid_sample(layer, grid, "nearest", padding_mode="border", align_corners=False)
            masks = turned.squeeze(1).to(masks.dtype)
        if boxes is not None:
            boxes = moved_boxes(boxes, matrix)
    if COLOURS & set(names):
        images = changes.recoloured(images)
    if "erase" in names:
        images = _erased(images, noise)
    return images, masks if boxes is None else boxes


@dataclass
class Changes:
    """How much each image of a batch changes: (B,) numbers, 0 where it stays."""

    mirrored: torch.Tensor
    """(B,) bool."""
    turn: torch.Tensor
    """Radians."""
    right: torch.Tensor
    down: torch.Tensor
    """Shifts in halves of the side."""
    zoom: torch.Tensor
    """Logarithm of the enlargement."""
    shear_x: torch.Tensor
    shear_y: torch.Tensor
    brightness: torch.Tensor
    """Standard deviations of the training set."""
    contrast: torch.Tensor
    saturation: torch.Tensor
    """Shares that are added."""
    sharpness: torch.Tensor | None = None
    """Likewise; None if no image changes its own."""

    def matrix(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, 2, 3) where each pixel of an image comes from, for affine_grid."""
        height, width = images.shape[2:]
        aspect = height / width  # affine_grid scales both sides to 2; a rotation must not stretch the image
        scale = torch.exp(-self.zoom)
        cos, sin = self.turn.cos() * scale, self.turn.sin() * scale
        mirror = torch.where(self.mirrored, -1.0, 1.0)
        across, along = (cos - sin * self.shear_y) * mirror, (sin + cos * self.shear_y) * mirror
        lean, upright = cos * self.shear_x - sin, sin * self.shear_x + cos
        parts = [across, lean * aspect, self.right, along / aspect, upright, self.down]
        return torch.stack(parts, dim=1).view(-1, 2, 3)

    def recoloured(self, images: torch.Tensor) -> torch.Tensor:
        """Return images of other contrast and brightness, saturation and sharpness."""
        if images.shape[1] > 1:
            grey = images.mean(dim=1, keepdim=True)
            images = images + (images - grey) * _per_image(self.saturation)
        if self.sharpness is not None:
            blurred = functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
            images = images + (images - blurred) * _per_image(self.sharpness)
        return images * _per_image(1 + self.contrast) + _per_image(self.brightness)


def _drawn(images: torch.Tensor, names: frozenset[str], noise: Noise) -> Changes:
    """Draw the changes of a batch."""
    flip, right, down, turn, bright, contrast = noise.uniform(6).unbind(1)
    still = torch.zeros_like(flip)
    changes = Changes(flip < (0.5 if "flip" in names else 0.0), *[still] * 9)
    height, width = images.shape[2:]
    if "rotate" in names:
        changes.turn = _either_side(turn) * TURN
    if "crop" in names:
        changes.right, changes.down = _shift(right, width), _shift(down, height)
    if "jitter" in names:
        changes.contrast, changes.brightness = _either_side(contrast) * CONTRAST, _either_side(bright) * BRIGHTNESS
        if images.shape[1] > 1:
            changes.saturation = _either_side(noise.uniform()) * SATURATION
    if "turn" in names:
        quarters = (noise.uniform() * 4).floor()
        changes.turn = changes.turn + (quarters if height == width else quarters // 2 * 2) * (math.pi / 2)
    if "zoom" in names:
        area, left, top = noise.uniform(3).unbind(1)
        scale = (ZOOM + area * (1 - ZOOM)).sqrt()
        changes.zoom = -scale.log()
        changes.right = changes.right + _either_side(left) * (1 - scale)
        changes.down = changes.down + _either_side(top) * (1 - scale)
    if "randaugment" in names:
        strengths = _random_strengths(noise)
        changes.sharpness = strengths.pop("sharpness")
        for name, strength in strengths.items():
            setattr(changes, name, getattr(changes, name) + strength)
    return changes


def _random_strengths(noise: Noise) -> dict[str, torch.Tensor]:
    """Return (B,) strengths of each change of `randaugment`, of which an image has DRAWN (Cubuk et al. 2020)."""
    chosen, strength = noise.uniform(2, DRAWN).unbind(1)
    numbers = (chosen * len(STRENGTHS)).long().clamp(max=len(STRENGTHS) - 1)
    table = torch.zeros(len(chosen), len(STRENGTHS), device=chosen.device)
    table.scatter_(1, numbers, _either_side(strength))  # the same one drawn twice counts once
    return {name: table[:, place] * most for place, (name, most) in enumerate(STRENGTHS.items())}


def _erased(images: torch.Tensor, noise: Noise) -> torch.Tensor:
    """Return images, some with a rectangle of the training set's mean colour (Zhong et al. 2020)."""
    whether, area, aspect, x, y = noise.uniform(5).unbind(1)
    least, most = ERASED_AREA
    share = (least + area * (most - least)) * (whether < ERASED_SHARE)
    ratio = ERASED_ASPECT ** (_either_side(aspect) / 2)
    inside = inside_rectangles(images, share.sqrt() * ratio, share.sqrt() / ratio, x, y)
    return images.masked_fill(inside.unsqueeze(1), 0.0)


def _shift(uniform: torch.Tensor, side: int) -> torch.Tensor:
    """Return a shift by whole pixels, in affine_grid's unit of half the side."""
    most = max(1, round(side * SHIFT))
    pixels = (uniform * (2 * most + 1)).floor() - most
    return pixels * 2 / side


def _either_side(uniform: torch.Tensor) -> torch.Tensor:
    return uniform * 2 - 1


def _per_image(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)
