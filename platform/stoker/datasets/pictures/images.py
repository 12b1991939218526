"""Image files decoded by Pillow to uint8 arrays of one size and number of channels."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image as Picture
from PIL import ImageOps, UnidentifiedImageError

from stoker.datasets.members import Location, open_location, size_of
from stoker.datasets.pictures.headers import DEEP, GREY, THREADS, Size, lies_sideways
from stoker.datasets.records import Files
from stoker.errors import JobError, Problem

CHUNK_VALUES = 1 << 20
"""Values counted at once; each takes eight bytes temporarily."""
SHOWN = 3
WHITE = (255, 255, 255, 255)
FINER = 2
"""A JPEG file is decoded at half, a quarter or an eighth of its size if it stays this many times larger than asked: in
a fifth of the time for a photo of 12 megapixels, where torchvision's decoder takes twice as long as this."""


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
    arrays = decoded(files, lambda path: _decode_image(path, size, channels, files.bits))
    channels = channels or max(array.shape[2] for array in arrays)
    check_sizes(files, arrays)
    return np.stack([np.broadcast_to(array, (*array.shape[:2], channels)) for array in arrays])


_in_turn = False


def decode_in_turn() -> None:
    """Decode one file after another in this process, which is one of several that decode: threads would not help."""
    global _in_turn
    _in_turn = True


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


def decoded(files: Files, decode: Callable[[Location], np.ndarray | str]) -> list[np.ndarray]:
    """Return the content of each file.

    Args:
        files: to decode.
        decode: returns the content of one, or the reason why it cannot be read.

    Raises:
        JobError: some cannot be read; the message names them.

    """
    if _in_turn:
        results = [decode(path) for path in files.paths]
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            results = list(pool.map(decode, files.paths))
    names = files.names()
    broken = [f"{name} ({result})" for name, result in zip(names, results, strict=True) if isinstance(result, str)]
    if broken:
        more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        cure = "repair or remove them" if len(broken) > 1 else "repair or remove it"
        raise JobError([Problem("dataset.source", f"cannot read {', '.join(broken[:SHOWN])}{more}; {cure}")])
    return [result for result in results if not isinstance(result, str)]


def check_sizes(files: Files, arrays: list[np.ndarray]) -> None:
    """Check that all have one size.

    Raises:
        JobError: they differ.

    """
    sizes = Counter(array.shape[:2] for array in arrays)
    if len(sizes) > 1:
        (common, _), (other, _) = sizes.most_common(2)
        example = files.names()[next(i for i, array in enumerate(arrays) if array.shape[:2] == other)]
        message = (
            f"the images differ in size: most are {common[0]}x{common[1]}, {example} is {other[0]}x{other[1]}; "
            f"set dataset.image.size, for example {min(common)}"
        )
        raise JobError([Problem("dataset.image.size", message)])


def _decode_image(file: Location, size: Size | None, channels: int | None, bits: int) -> np.ndarray | str:
    def plain(image: Picture.Image) -> np.ndarray:
        grey = image.mode in GREY if channels is None else channels == 1
        if size is not None:
            height, width = reversed(size) if lies_sideways(image) else size
            image.draft(None, (FINER * width, FINER * height))
        converted = _opaque(_eight_bits(_upright(image), bits)).convert("L" if grey else "RGB")
        if size is not None and converted.size != (size[1], size[0]):
            converted = converted.resize((size[1], size[0]))
        array = np.asarray(converted, np.uint8)
        return array[..., None] if array.ndim == 2 else array

    return opened(file, plain)


def opened(file: Location, use: Callable[[Picture.Image], np.ndarray]) -> np.ndarray | str:
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


def _upright(image: Picture.Image) -> Picture.Image:
    """Turn an image as its EXIF orientation says; in place, since Pillow copies it otherwise."""
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _eight_bits(image: Picture.Image, bits: int) -> Picture.Image:
    """Convert deep grey by the 8 upper ones of its bits; Pillow's own conversion clips all but the darkest to white."""
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        values = values * 255 if values.max(initial=0) <= 1 else values
        return Picture.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if image.mode not in DEEP:
        return image
    values = np.asarray(image).clip(0, 2**bits - 1) >> (bits - 8)
    return Picture.fromarray(values.astype(np.uint8))


def _opaque(image: Picture.Image) -> Picture.Image:
    """Lay an image with transparency on white."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Picture.alpha_composite(Picture.new("RGBA", layer.size, WHITE), layer)
