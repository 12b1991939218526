"""Photos of 12 megapixels as images of 128x128: read by Stoker, by Pillow as a guide would, and by torchvision.

24 JPEG files of 4000x3000 are decoded and resized one after another, with one thread. torchvision decodes to a tensor
and resizes with antialiasing. All arms must deliver the same pictures: their values differ by less than three levels.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms.v2 import InterpolationMode, functional

from pairing import Arm, Lap, Machine, alternate, ratio, report, timed
from stoker.datasets.pictures.images import decode_images, decode_in_turn
from stoker.datasets.records import Files

PHOTOS, WIDTH, HEIGHT, SIDE = 24, 4000, 3000, 128
LEVELS = 3.0
"""Largest mean difference of the values of two arms."""
Reader = Callable[[tuple[Path, ...]], np.ndarray]


def main() -> None:
    """Compare the arms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    decode_in_turn()
    machine = Machine()
    with tempfile.TemporaryDirectory() as place:
        paths = write(Path(place))
        readers: dict[str, Reader] = {"stoker": by_stoker, "Pillow": by_pillow, "torchvision": by_torchvision}
        whole = {name: read(paths).astype(np.float64) for name, read in readers.items()}
        for name in readers:
            found = float(np.abs(whole[name] - whole["stoker"]).mean())
            assert found < LEVELS, f"{name} reads other pictures: values differ by {found:.1f} levels"
        arms: dict[str, Arm] = {name: partial(lap, read, paths) for name, read in readers.items()}
        laps = alternate(arms, rounds)
    report(laps, "Pillow", "cpu_s", PHOTOS, "photo")
    print(f"  times faster than torchvision: {ratio(laps, 'stoker', 'torchvision', 'cpu_s'):.2f}")
    machine.describe(torch=torch.__version__)


def write(folder: Path) -> tuple[Path, ...]:
    """Write photos of soft patches with some grain."""
    rng = np.random.default_rng(0)
    paths = tuple(folder / f"{number}.jpg" for number in range(PHOTOS))
    for path in paths:
        soft = Image.fromarray(rng.integers(0, 256, (HEIGHT // 50, WIDTH // 50, 3), np.uint8)).resize((WIDTH, HEIGHT))
        grain = rng.integers(-6, 7, (HEIGHT, WIDTH, 1), np.int16)
        Image.fromarray((np.asarray(soft) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def lap(read: Reader, paths: tuple[Path, ...]) -> Lap:
    """Return the lap of reading all photos."""
    return timed(partial(read, paths))


def by_stoker(paths: tuple[Path, ...]) -> np.ndarray:
    """Return (N, SIDE, SIDE, 3) uint8."""
    return decode_images(Files(paths), (SIDE, SIDE), 3)


def by_pillow(paths: tuple[Path, ...]) -> np.ndarray:
    """Return the same."""
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE))) for path in paths])


def by_torchvision(paths: tuple[Path, ...]) -> np.ndarray:
    """Return the same."""
    decoded = (decode_jpeg(read_file(str(path)), ImageReadMode.RGB) for path in paths)
    resized = (functional.resize(each, [SIDE, SIDE], InterpolationMode.BICUBIC, antialias=True) for each in decoded)
    return np.stack([each.permute(1, 2, 0).numpy() for each in resized])


if __name__ == "__main__":
    main()
