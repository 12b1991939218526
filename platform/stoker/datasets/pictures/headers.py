"""Headers of image files: the size and the mode of each, and notes on what decoding makes of unusual ones."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags
from PIL import Image as Picture

from stoker.datasets.members import Location, open_location
from stoker.datasets.records import DEEP_BITS, Files

THREADS = 8
Size = tuple[int, int]
DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
"""Pillow's modes of grey with more than 8 bits."""
GREY = DEEP | {"1", "L", "LA", "La", "F"}
"""Pillow's modes without colour."""
MODES = {
    "1": ("black and white", ""),
    "L": ("grey", ""),
    "LA": ("grey with transparency", "laid on white"),
    "F": ("grey of real numbers", "those of files up to 1 multiplied by 255"),
    "RGB": ("RGB", ""),
    "RGBA": ("RGBA", "laid on white"),
    "P": ("palette", "as its colours"),
    "PA": ("palette with transparency", "laid on white"),
    "CMYK": ("CMYK", "converted to RGB"),
}
"""The names of Pillow's modes, and what is done with them; others are converted to RGB, too."""
SIDEWAYS = frozenset({5, 6, 7, 8})
"""EXIF orientations of images that lie on their side."""
INSPECTED_DEEP = 50
"""Deep files whose values are read to see how many bits they use."""


@dataclass(frozen=True)
class Header:
    """What the header of an image file says."""

    file: Location
    size: Size
    """Height and width of the upright image."""
    mode: str
    """Pillow's; PA for any palette with transparency."""
    turned: bool
    """Whether the file says that the image is to be turned or mirrored."""

    @property
    def channels(self) -> int:
        """Return 1 for grey, 3 for colour."""
        return 1 if self.mode in GREY else 3


def read_headers(files: Files) -> list[Header]:
    """Return the header of each file, without unreadable files: decoding reports them."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(_header, files.paths)
    return [each for each in found if each is not None]


def image_sizes(files: Files) -> list[Size]:
    """Return height and width of each file, without unreadable files."""
    return [each.size for each in read_headers(files)]


def orientation(image: Picture.Image) -> int:
    """Return the EXIF orientation of an open file; 1 is upright."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the file to look behind its pixels
    found: int = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found


def lies_sideways(image: Picture.Image) -> bool:
    """Return whether width and height of an open file change places to turn it upright."""
    return image.format != "TIFF" and orientation(image) in SIDEWAYS  # of a TIFF file Pillow has the upright size


def used_bits(headers: Sequence[Header]) -> int:
    """Return how many bits the values of deep grey files use, such as 12 of 16: from 8 to 16."""
    deep = [header.file for header in headers if header.mode in DEEP]
    chosen = np.unique(np.linspace(0, len(deep) - 1, min(INSPECTED_DEEP, len(deep))).astype(int))
    largest = max((_largest(deep[number]) for number in chosen), default=0)
    return min(max(largest.bit_length(), 8), DEEP_BITS) if largest else DEEP_BITS


def mode_notes(headers: Sequence[Header], bits: int = DEEP_BITS) -> Iterator[str]:
    """Yield notes on files that are neither all grey nor all RGB, and on those that are turned upright.

    Args:
        headers: of the files.
        bits: that the values of deep grey files use.

    """
    modes = Counter("deep" if header.mode in DEEP else header.mode for header in headers)
    if set(modes) - {"1", "L", "RGB"} or len({header.channels for header in headers}) > 1:
        shown = ", ".join(f"{count:,} {_described(mode, bits)}" for mode, count in modes.most_common())
        grey = any(header.channels == 1 for header in headers) and any(header.channels == 3 for header in headers)
        mixed = "; all have three channels, equal ones where they are grey" if grey else ""
        yield f"modes of {len(headers):,} image files: {shown}{mixed}"
    if turned := sum(header.turned for header in headers):
        yield f"{turned:,} of {len(headers):,} image files are turned upright, as their EXIF orientation says"


def _described(mode: str, bits: int) -> str:
    if mode == "deep":
        used = "" if bits == DEEP_BITS else f", of which {bits} bits are used"
        return f"{DEEP_BITS}-bit grey ({'divided by ' + str(2 ** (bits - 8)) if bits > 8 else 'as they are'}{used})"
    name, done = MODES.get(mode, (mode, "converted to RGB"))
    return f"{name} ({done})" if done else name


def _largest(file: Location) -> int:
    """Return the largest value of a file; 0 if it does not decode."""
    try:
        with open_location(file) as content, Picture.open(content) as image:
            return int(np.asarray(image).max(initial=0))
    except Exception:  # decoding reports the file and the reason
        return 0


def _header(file: Location) -> Header | None:
    try:
        with open_location(file) as content, Picture.open(content) as image:
            width, height = reversed(image.size) if lies_sideways(image) else image.size
            mode = "PA" if image.mode == "P" and "transparency" in image.info else image.mode
            return Header(file, (height, width), mode, orientation(image) != 1)
    except Exception:  # decoding reports the file and the reason
        return None
