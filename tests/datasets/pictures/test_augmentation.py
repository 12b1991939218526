import pytest
import torch

from stoker.datasets.pictures.augmentation import CONTRAST, STRENGTHS, _random_strengths, augment
from stoker.randomness import Noise

CPU = torch.device("cpu")


def noise(total: int = 6, start: int = 0, stop: int | None = None) -> Noise:
    return Noise((0, 1, 2), total, start, total if stop is None else stop, CPU)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(6, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_without_augmentation_images_are_unchanged(images: torch.Tensor):
    unchanged, mask = augment(images, (), noise())
    assert unchanged is images
    assert mask is None


def test_flip_mirrors_some_images_and_leaves_the_others(images: torch.Tensor):
    flipped, _ = augment(images, ("flip",), noise())
    kinds = [
        "same" if torch.allclose(after, before, atol=1e-5) else "mirrored"
        for before, after in zip(images, flipped, strict=True)
    ]
    assert set(kinds) == {"same", "mirrored"}
    for kind, before, after in zip(kinds, images, flipped, strict=True):
        torch.testing.assert_close(after, before if kind == "same" else before.flip(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("width", "quarters"), [(16, {0, 1, 2, 3}), (24, {0, 2})])
def test_turn_turns_by_quarters_and_masks_alike(width: int, quarters: set[int]):
    images = torch.randn(40, 3, 16, width, generator=torch.Generator().manual_seed(0))
    masks = (images[:, 0] > 0).to(torch.uint8)
    turned, layers = augment(images, ("turn",), noise(40), masks)
    assert layers is not None
    found = set()
    for image, mask, after, layer in zip(images, masks, turned, layers, strict=True):
        (number,) = [n for n in quarters if torch.allclose(torch.rot90(image, n, (1, 2)), after, atol=1e-4)]
        assert torch.equal(torch.rot90(mask, number, (0, 1)), layer)
        found.add(number)
    assert found == quarters


def test_crop_moves_whole_pixels_by_at_most_an_eighth(images: torch.Tensor):
    cropped, _ = augment(images, ("crop",), noise())
    moves = set()
    for before, after in zip(images, cropped, strict=True):
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


def test_a_rotation_keeps_distances_in_images_that_are_not_square():
    image = torch.zeros(1, 1, 40, 80)
    image[0, 0, 20, 20] = image[0, 0, 20, 60] = 1
    turned = augment(image, ("rotate",), noise(1))[0][0, 0]
    left, right = (torch.nonzero(half > half.max() * 0.9)[0].float() for half in (turned[:, :40], turned[:, 40:]))
    distance = (right + torch.tensor([0.0, 40.0]) - left).norm()
    assert abs(float(left[0] - right[0])) > 2, "this noise should turn the image"
    assert float(distance) == pytest.approx(40, abs=1.5)


def test_jitter_changes_brightness_and_contrast_of_each_image(images: torch.Tensor):
    images = images[:, :1]  # without colours there is no saturation to change
    changed, _ = augment(images, ("jitter",), noise())
    factors = changed.flatten(1).std(1) / images.flatten(1).std(1)
    assert ((factors - 1).abs() <= CONTRAST + 1e-5).all()
    assert len(set(factors.tolist())) == len(images)
    offsets = (changed - images * factors.view(-1, 1, 1, 1)).flatten(1)
    assert (offsets.std(1) < 1e-5).all()


def test_jitter_changes_how_far_colours_are_from_grey(images: torch.Tensor):
    changed, _ = augment(images, ("jitter",), noise())
    colours, before = (each - each.mean(dim=1, keepdim=True) for each in (changed, images))
    factors = colours.flatten(1).std(1) / before.flatten(1).std(1)
    assert len({round(float(factor), 3) for factor in factors}) == len(images)
    torch.testing.assert_close(colours, before * factors.view(-1, 1, 1, 1), atol=1e-4, rtol=0)


def test_zoom_shows_an_inner_part_of_the_image_without_borders():
    ramp = torch.linspace(-1, 1, 64).expand(6, 1, 64, 64).contiguous()
    zoomed, _ = augment(ramp, ("zoom",), noise())
    spans = (zoomed.amax(dim=(1, 2, 3)) - zoomed.amin(dim=(1, 2, 3))) / 2
    assert ((spans > 0.5**0.5 - 0.05) & (spans <= 1.01)).all()
    steps = zoomed.diff(dim=3)
    assert ((steps.amax(dim=(1, 2, 3)) - steps.amin(dim=(1, 2, 3))) < 0.005).all(), "a border would repeat a pixel"


def test_erase_sets_a_rectangle_of_some_images_to_the_mean():
    images = torch.ones(200, 3, 32, 24)
    erased, _ = augment(images, ("erase",), noise(200))
    gone = erased[:, 0] == 0
    assert torch.equal(erased == 0, gone.unsqueeze(1).expand_as(erased)), "all channels of a pixel, and nothing else"
    hit = gone.flatten(1).any(dim=1)
    assert 60 < hit.sum() < 140
    areas = gone[hit].float().mean(dim=(1, 2))
    assert areas.min() > 0.01
    assert areas.max() < 0.25
    rows, columns = gone[hit].any(dim=2).sum(dim=1), gone[hit].any(dim=1).sum(dim=1)
    assert torch.equal(rows * columns, gone[hit].sum(dim=(1, 2))), "each is one rectangle"


def test_randaugment_draws_two_of_all_changes_for_each_image():
    strengths = _random_strengths(noise(500))
    drawn = torch.stack([each != 0 for each in strengths.values()])
    assert set(drawn.sum(dim=0).tolist()) == {1, 2}
    assert (drawn.sum(dim=1) > 50).all(), "each change occurs in about a fifth of the images"
    for name, each in strengths.items():
        assert STRENGTHS[name] * 0.8 < each.abs().max() <= STRENGTHS[name]


EVERYTHING = ("flip", "crop", "zoom", "rotate", "jitter", "erase", "randaugment")


@pytest.mark.parametrize("names", [*((name,) for name in EVERYTHING), EVERYTHING])
def test_augmentation_does_not_depend_on_micro_batches(images: torch.Tensor, names: tuple[str, ...]):
    whole, _ = augment(images, names, noise())
    cut = torch.cat([augment(images[a:b], names, noise(6, a, b))[0] for a, b in [(0, 1), (1, 4), (4, 6)]])
    torch.testing.assert_close(cut, whole)
    assert not torch.equal(whole, images)


MOVEMENTS = [("flip",), ("crop",), ("zoom",), ("rotate",), ("flip", "crop", "zoom", "rotate")]


@pytest.mark.parametrize("names", MOVEMENTS)
def test_a_mask_moves_with_its_image(names: tuple[str, ...]):
    masks = torch.zeros(6, 48, 64, dtype=torch.uint8)
    masks[:, 10:30, 8:28] = masks[:, 26:40, 36:56] = 1
    moved, turned = augment(masks.unsqueeze(1).float(), names, noise(), masks)
    assert turned is not None
    assert turned.dtype == masks.dtype
    assert (turned != masks).flatten(1).any(1).sum() >= 2, "this noise should move some of the masks"
    sharp = (moved[:, 0] - 0.5).abs() > 0.4  # an image is blended at the edge of a class, a mask is not
    assert sharp.float().mean() > 0.9
    assert torch.equal(turned[sharp] == 1, moved[:, 0][sharp] > 0.5)


@pytest.mark.parametrize("names", MOVEMENTS)
def test_a_moved_mask_has_no_new_classes(images: torch.Tensor, names: tuple[str, ...]):
    masks = torch.tensor([0, 3, 7], dtype=torch.uint8)[torch.randint(3, (6, 16, 24))]
    _, moved = augment(images, names, noise(), masks)
    assert moved is not None
    assert moved.shape == masks.shape
    assert set(moved.unique().tolist()) <= {0, 3, 7}


def test_jitter_does_not_change_masks(images: torch.Tensor):
    masks = torch.randint(3, (6, 16, 24), dtype=torch.uint8)
    changed, same = augment(images, ("jitter",), noise(), masks)
    assert not torch.equal(changed, images)
    assert same is masks


def test_images_change_equally_with_and_without_masks(images: torch.Tensor):
    names = ("flip", "crop", "rotate", "jitter")
    masks = torch.zeros(6, 16, 24, dtype=torch.uint8)
    assert torch.equal(augment(images, names, noise(), masks)[0], augment(images, names, noise())[0])


def test_an_empty_batch_stays_empty():
    images, masks = torch.zeros(0, 3, 8, 8), torch.zeros(0, 8, 8, dtype=torch.uint8)
    changed, moved = augment(images, ("flip", "rotate"), noise(6, 6, 6), masks)
    assert changed.shape == images.shape
    assert moved is masks
