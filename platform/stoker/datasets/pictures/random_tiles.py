"""Random tiles of images, of which a step of training sees nothing else."""

from torch import Tensor, stack


def random_tiles(images: Tensor, tile: tuple[int, int], places: Tensor) -> Tensor:
    """Return a tile (B, ..., *tile) of each image.

    Args:
        images: (B, ..., height, width), no smaller than the tile.
        tile: height and width.
        places: (B, 2) where it lies between the ends of each side, from 0 to 1.

    """
    room = [side - part + 1 for side, part in zip(images.shape[-2:], tile, strict=True)]
    corners = [(int(y * room[0]), int(x * room[1])) for y, x in places.tolist()]
    cut = [image[..., y : y + tile[0], x : x + tile[1]] for image, (y, x) in zip(images, corners, strict=True)]
    return stack(cut) if cut else images[..., : tile[0], : tile[1]]
