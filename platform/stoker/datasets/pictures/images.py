"""Image files decoded by Pillow to uint8 arrays of one size and number of channels."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from stoker.datasets.members import Location, open_location, size_of
from stoker.datasets.records import Files
from stoker.errors import JobError, Problem

GREY = frozenset({"1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
"""Pillow's modes without colour."""
THREADS = 8
CHUNK_VALUES = 1 << 20
"""Values counted at once; each takes eight bytes temporarily."""
SIDES = (128, 96, 64, 48, 32)
"""Sizes of square images to choose from."""
SHOWN = 3
Size = tuple[int, int]


def decode_images(files: Files, size: Size | None, channels: int | None = None) -> np.ndarray:
    """Decode image files to one array.

    Args:
        files: the images.
        size: height and width to resize to; None requires equal sizes.
        channels: 1 for grey, 3 for colour; None is grey if every image is.

    Returns:
        (N, height, width, channels) uint8.

    Raises:
        JobError: a file does not decode, or sizes differ and `size` is None.

    """
    if len(files) == 0:
        return np.zeros((0, *(size or (0, 0)), channels or 1), np.uint8)
    arrays = _decoded(files, lambda path: _decode_image(path, size, channels))
    channels = channels or max(array.shape[2] for array in arrays)
    _check_sizes(files, arrays)
    return np.stack([np.broadcast_to(array, (*array.shape[:2], channels)) for array in arrays])


_in_turn = False


def decode_in_turn() -> None:
    """Decode one file after another in this process, which is one of several that decode: threads would not help."""
    global _in_turn
    _in_turn = True


def decode_masks(files: Files, size: Size | None) -> np.ndarray:
    """Decode mask files, whose pixels are class values, to one array (N, height, width) uint8.

    Raises:
        JobError: a file does not decode or has colours, or sizes differ and `size` is None.

    """
    if len(files) == 0:
        return np.zeros((0, *(size or (0, 0))), np.uint8)
    arrays = _decoded(files, lambda path: _decode_mask(path, size))
    _check_sizes(files, arrays)
    return np.stack(arrays)


def image_sizes(files: Files) -> list[tuple[int, int]]:
    """Return height and width of each file from its header, without unreadable files."""
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(_header, files.paths)
    return [size for size in found if size is not None]


def common_side(sizes: Sequence[Size]) -> int:
    """Return the side of a square for images of different sizes: few are enlarged, and none is large."""
    sides = sorted(min(size) for size in sizes)
    small = sides[len(sides) // 10]
    return next((side for side in SIDES if side <= small), SIDES[-1])


def level_counts(pixels: np.ndarray) -> np.ndarray:
    """Count the values of (N, ..., channels) uint8 images in chunks: (channels, 256) int64."""
    channels = pixels.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    chunk = max(1, CHUNK_VALUES // max(1, pixels[:1].size))
    for begin in range(0, len(pixels), chunk):
        for channel in range(channels):
            counts[channel] += np.bincount(pixels[begin : begin + chunk, ..., channel].reshape(-1), minlength=256)
    return counts


def resize(pixels: np.ndarray, size: Size | None) -> np.ndarray:
    """Resize (N, height, width, channels) uint8 images in memory."""
    if size is None or pixels.shape[1:3] == size:
        return pixels
    return np.stack([_resized(pixels[..., channel], size) for channel in range(pixels.shape[3])], axis=-1)


def resize_masks(masks: np.ndarray, size: Size | None) -> np.ndarray:
    """Resize (N, height, width) uint8 masks in memory by nearest neighbour."""
    if size is None or masks.shape[1:] == size:
        return masks
    return _resized(masks, size, Picture.Resampling.NEAREST)


def _resized(layers: np.ndarray, size: Size, resampling: Picture.Resampling | None = None) -> np.ndarray:
    made = np.empty((len(layers), *size), np.uint8)
    for number, layer in enumerate(layers):
        made[number] = np.asarray(Picture.fromarray(layer).resize((size[1], size[0]), resampling))
    return made


def _header(file: Location) -> Size | None:
    try:
        with open_location(file) as content, Picture.open(content) as image:
            return image.height, image.width
    except Exception:  # decoding reports the file and the reason
        return None


def _decoded(files: Files, decode: Callable[[Location], np.ndarray | str]) -> list[np.ndarray]:
    if _in_turn:
        decoded = [decode(path) for path in files.paths]
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            decoded = list(pool.map(decode, files.paths))
    names = files.names()
    broken = [f"{name} ({result})" for name, result in zip(names, decoded, strict=True) if isinstance(result, str)]
    if broken:
        more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        cure = "repair or remove them" if len(broken) > 1 else "repair or remove it"
        raise JobError([Problem("dataset.source", f"cannot read {', '.join(broken[:SHOWN])}{more}; {cure}")])
    return [result for result in decoded if not isinstance(result, str)]


def _check_sizes(files: Files, arrays: list[np.ndarray]) -> None:
    sizes = Counter(array.shape[:2] for array in arrays)
    if len(sizes) > 1:
        (common, _), (other, _) = sizes.most_common(2)
        example = files.names()[next(i for i, array in enumerate(arrays) if array.shape[:2] == other)]
        message = (
            f"the images differ in size: most are {common[0]}x{common[1]}, {example} is {other[0]}x{other[1]}; "
            f"set dataset.image.size, for example {min(common)}"
        )
        raise JobError([Problem("dataset.image.size", message)])


def _decode_image(file: Location, size: Size | None, channels: int | None) -> np.ndarray | str:
    def plain(image: Picture.Image) -> np.ndarray:
        grey = image.mode in GREY if channels is None else channels == 1
        converted = _eight_bits(image).convert("L" if grey else "RGB")
        if size is not None and converted.size != (size[1], size[0]):
            converted = converted.resize((size[1], size[0]))
        array = np.asarray(converted, np.uint8)
        return array[..., None] if array.ndim == 2 else array

    return _opened(file, plain)


def _decode_mask(file: Location, size: Size | None) -> np.ndarray | str:
    def plain(image: Picture.Image) -> np.ndarray:
        if image.mode not in {"1", "L", "P", "I", "I;16"}:
            raise ValueError(f"a mask holds one class value a pixel, this is {image.mode}")
        values = np.asarray(image.convert("L") if image.mode == "1" else image)
        if values.max(initial=0) > 255:
            raise ValueError("a mask holds class values up to 255")
        single = Picture.fromarray(values.astype(np.uint8))
        if size is not None and single.size != (size[1], size[0]):
            single = single.resize((size[1], size[0]), Picture.Resampling.NEAREST)
        return np.asarray(single, np.uint8)

    return _opened(file, plain)


def _opened(file: Location, use: Callable[[Picture.Image], np.ndarray]) -> np.ndarray | str:
    """Return the decoded file, or the reason why it cannot be decoded."""
    try:
        if size_of(file) == 0:
            return "an empty file"
        with open_location(file) as content, Picture.open(content) as image:
            return use(image)
    except UnidentifiedImageError:
        return "not an image"
    except Picture.DecompressionBombError:
        return f"larger than {Picture.MAX_IMAGE_PIXELS or 0:,} pixels"
    except Exception as error:  # a broken file makes Pillow's decoders raise almost anything
        return str(error) or type(error).__name__


def _eight_bits(image: Picture.Image) -> Picture.Image:
    """Convert 16 to 8 bits by their upper half; Pillow's own conversion clips all but the darkest values to white."""
    if not image.mode.startswith("I;16"):
        return image
    return Picture.fromarray((np.asarray(image) >> 8).astype(np.uint8))
