"""Random augmentation of images, drawn for each sample."""

import math
from collections.abc import Iterator

import torch
from torch.nn import functional

from stoker.job.dataset import Augmentation, Image
from stoker.job.signature import ImageInput
from stoker.job.task import TaskRow
from stoker.randomness import Noise

SHIFT = 1 / 8
"""Largest shift of `crop`, as a share of the side."""
TURN = math.radians(15)
PHOTO_SIDE = 32
"""Pixels of the shorter side of the smallest photo; colour images below are icons and the like."""
PHOTO_AUGMENTATION: tuple[Augmentation, ...] = ("flip", "crop")
BRIGHTNESS = 0.25
"""Largest change of brightness of `jitter`, in standard deviations of the training set."""
CONTRAST = 0.2


def completed_image(image: Image, shape: ImageInput, task: TaskRow) -> Image:
    """Return the settings of images with their size, and with the augmentation that fits unless the job sets one."""
    is_photo = shape.channels > 1 and min(shape.height, shape.width) >= PHOTO_SIDE
    default = PHOTO_AUGMENTATION if is_photo and task.augments_photos else ()
    names = default if image.augment is None else image.augment
    return image.model_copy(update={"size": (shape.height, shape.width), "augment": names})


def augmentation_notes(before: Image, after: Image) -> Iterator[str]:
    """Yield a note on an augmentation that was chosen, not set."""
    if before.augment is None and after.augment:
        yield f"training images are changed at random ({', '.join(after.augment)}); dataset.image.augment: [] does not"


def augment(
    images: torch.Tensor, names: tuple[str, ...], noise: Noise, masks: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Augment each image independently, and transform its mask with it.

    All geometric changes are one affine sampling with border padding.

    Args:
        images: (B, channels, height, width) float32.
        names: the changes of dataset.image.augment.
        noise: random numbers for each row.
        masks: (B, height, width) class numbers.

    Returns:
        Images and masks of the same shapes.

    """
    if not names or len(images) == 0:
        return images, masks
    flip, right, down, turn, bright, contrast = noise.uniform(6).unbind(1)
    if {"flip", "crop", "rotate"} & set(names):
        still = torch.zeros_like(flip)
        mirror = torch.where(flip < 0.5, -1.0, 1.0) if "flip" in names else still + 1
        angle = (turn * 2 - 1) * TURN if "rotate" in names else still
        height, width = images.shape[2:]
        x = _shift(right, width) if "crop" in names else still
        y = _shift(down, height) if "crop" in names else still
        cos, sin = angle.cos(), angle.sin()
        aspect = height / width  # affine_grid scales both sides to 2; a rotation must not stretch the image
        matrix = torch.stack([cos * mirror, -sin * aspect, x, sin * mirror / aspect, cos, y], dim=1).view(-1, 2, 3)
        grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
        moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        images = moved.contiguous(memory_format=torch.channels_last)
        if masks is not None:
            layer = masks.unsqueeze(1).float()
            turned = functional.grid_sample(layer, grid, "nearest", padding_mode="border", align_corners=False)
            masks = turned.squeeze(1).to(masks.dtype)
    if "jitter" in names:
        factor = (1 + (contrast * 2 - 1) * CONTRAST).view(-1, 1, 1, 1)
        offset = ((bright * 2 - 1) * BRIGHTNESS).view(-1, 1, 1, 1)
        images = images * factor + offset
    return images, masks


def _shift(uniform: torch.Tensor, side: int) -> torch.Tensor:
    """Return a shift by whole pixels, in affine_grid's unit of half the side."""
    most = max(1, round(side * SHIFT))
    pixels = (uniform * (2 * most + 1)).floor() - most
    return pixels * 2 / side
