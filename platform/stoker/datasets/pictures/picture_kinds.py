"""The kind of picture that a dataset consists of, and the random changes that leave its classes as they are."""

import re
from collections.abc import Iterator
from typing import Literal

from stoker.job.dataset import Augmentation, Image
from stoker.job.signature import MaskOutput, Signature
from stoker.job.task import TaskRow

PictureKind = Literal["photos", "signs", "grey", "small"]
SMALL_SIDE = 16
"""Pictures with a shorter side lose too much when they are moved by a pixel."""
PHOTO_SIDE = 32
"""Pixels of the shorter side of the smallest photo; colour images below are icons and the like."""
SIGN = re.compile(r"\d+|.|(.*[^a-z])?(left|right)([^a-z].*)?", re.IGNORECASE | re.DOTALL)
"""Names of classes whose mirror images are other classes, or none: numbers, single letters, directions."""
NUMBERS = frozenset({"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"})
MOVED: tuple[Augmentation, ...] = ("crop", "rotate")
AUGMENTATION: dict[PictureKind, tuple[Augmentation, ...]] = {
    "photos": ("flip", "crop", "jitter", "erase"),
    "signs": MOVED,
    "grey": MOVED,
    "small": (),
}
"""What is changed at random in pictures that are recognised as a whole."""
WITH_MASKS: dict[PictureKind, tuple[Augmentation, ...]] = {"photos": ("flip", "crop")}
"""The same where each pixel is recognised."""
WITH_BOXES: dict[PictureKind, tuple[Augmentation, ...]] = {
    "photos": ("flip", "crop", "zoom", "jitter"),
    "grey": ("crop", "zoom", "jitter"),
}
"""The same where objects are found: most of them do not fill their box, whose turned one would not fit."""
DESCRIPTIONS: dict[PictureKind, str] = {
    "photos": "photos",
    "signs": "signs, of which a mirror image means something else",
    "grey": "signs or drawings, as they have no colours or are small",
    "small": "icons",
}


def picture_kind(signature: Signature) -> PictureKind:
    """Return the kind of picture by the size and channels of the images, and the names of classes or tags."""
    shape = next(iter(signature.images.values()))
    side = min(shape.height, shape.width)
    if side < SMALL_SIDE:
        return "small"
    names = () if isinstance(signature.output, MaskOutput) else signature.weighted  # pixel values are numbers, too
    if any(SIGN.fullmatch(name) or name.lower() in NUMBERS for name in names):
        return "signs"
    return "photos" if shape.channels > 1 and side >= PHOTO_SIDE else "grey"


def completed_image(image: Image, signature: Signature, task: TaskRow) -> Image:
    """Return the settings of images with their size, and with the augmentation that fits unless the job sets one."""
    shape = next(iter(signature.images.values()))
    names = image.augment
    if names is None:
        kinds = {"mask": WITH_MASKS, "boxes": WITH_BOXES}.get(task.target, AUGMENTATION)
        alone = len(signature.inputs) == 1
        names = kinds.get(picture_kind(signature), ()) if task.augments and alone else ()
    return image.model_copy(update={"size": (shape.height, shape.width), "augment": names})


def augmentation_notes(before: Image, after: Image, signature: Signature) -> Iterator[str]:
    """Yield a note on an augmentation that was chosen, not set."""
    if before.augment is None and after.augment:
        changes = f"training images are changed at random ({', '.join(after.augment)})"
        taken = f"they are taken for {DESCRIPTIONS[picture_kind(signature)]}"
        yield f"{changes}, since {taken}; dataset.image.augment sets other changes, [] none"
