import pytest
import torch

from stoker.datasets.augmentation import CONTRAST, augment
from stoker.randomness import Noise

CPU = torch.device("cpu")


def noise(total: int = 6, start: int = 0, stop: int | None = None) -> Noise:
    return Noise((0, 1, 2), total, start, total if stop is None else stop, CPU)


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randn(6, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_no_change_leaves_pictures_as_they_are(pictures: torch.Tensor):
    assert augment(pictures, (), noise()) is pictures


def test_flip_mirrors_some_pictures_and_leaves_the_others(pictures: torch.Tensor):
    flipped = augment(pictures, ("flip",), noise())
    kinds = [
        "same" if torch.allclose(after, before, atol=1e-5) else "mirrored"
        for before, after in zip(pictures, flipped, strict=True)
    ]
    assert set(kinds) == {"same", "mirrored"}
    for kind, before, after in zip(kinds, pictures, flipped, strict=True):
        torch.testing.assert_close(after, before if kind == "same" else before.flip(2), atol=1e-5, rtol=0)


def test_crop_moves_whole_pixels_by_at_most_an_eighth(pictures: torch.Tensor):
    cropped = augment(pictures, ("crop",), noise())
    moves = set()
    for before, after in zip(pictures, cropped, strict=True):
        padded = torch.nn.functional.pad(before[None], (3, 3, 2, 2), mode="replicate")[0]
        found = [
            (down - 2, right - 3)
            for down in range(5)
            for right in range(7)
            if torch.allclose(padded[:, down : down + 16, right : right + 24], after, atol=1e-4)
        ]
        assert len(found) == 1
        moves.add(found[0])
    assert len(moves) > 1


def test_a_turn_keeps_distances_in_pictures_that_are_not_square():
    picture = torch.zeros(1, 1, 40, 80)
    picture[0, 0, 20, 20] = picture[0, 0, 20, 60] = 1
    turned = augment(picture, ("rotate",), noise(1))[0, 0]
    left, right = (torch.nonzero(half > half.max() * 0.9)[0].float() for half in (turned[:, :40], turned[:, 40:]))
    distance = (right + torch.tensor([0.0, 40.0]) - left).norm()
    assert abs(float(left[0] - right[0])) > 2, "this noise should turn the picture"
    assert float(distance) == pytest.approx(40, abs=1.5)


def test_jitter_changes_brightness_and_contrast_of_each_picture(pictures: torch.Tensor):
    changed = augment(pictures, ("jitter",), noise())
    factors = changed.flatten(1).std(1) / pictures.flatten(1).std(1)
    assert ((factors - 1).abs() <= CONTRAST + 1e-5).all()
    assert len(set(factors.tolist())) == len(pictures)
    offsets = (changed - pictures * factors.view(-1, 1, 1, 1)).flatten(1)
    assert (offsets.std(1) < 1e-5).all()


@pytest.mark.parametrize(
    "names", [("flip",), ("crop",), ("rotate",), ("jitter",), ("flip", "crop", "rotate", "jitter")]
)
def test_a_sample_changes_alike_however_the_batch_is_cut(pictures: torch.Tensor, names: tuple[str, ...]):
    whole = augment(pictures, names, noise())
    cut = torch.cat([augment(pictures[a:b], names, noise(6, a, b)) for a, b in [(0, 1), (1, 4), (4, 6)]])
    torch.testing.assert_close(cut, whole)
    assert not torch.equal(whole, pictures)
