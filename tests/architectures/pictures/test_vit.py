"""The vision transformer."""

import pytest
import torch

from stoker.architectures.layers import StochasticDepth
from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.architectures.pictures.vit import sines
from stoker.job.architecture.vit import Vit
from stoker.job.signature import ClassOutput, ImageInput, NumbersInput, Signature


def signature(height: int = 9, width: int = 13) -> Signature:
    return Signature({"image": ImageInput(3, height, width)}, ClassOutput(("a", "b", "c", "d")))


def completed(size: tuple[int, int], **settings: object) -> Vit:
    made = with_default_sizes(Vit(family="vit", **settings), signature(*size), 100)
    assert isinstance(made, Vit)
    return made


@pytest.mark.parametrize("pool", ["mean", "token"])
@pytest.mark.parametrize("positions", ["sincos", "learned"])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (33, 20)])
def test_an_image_of_any_size_has_an_output_of_its_own(size, positions, pool):
    settings = completed(size, width=16, heads=2, layers=2, positions=positions, pool=pool, dropout=0.5)
    assert misfits(settings, signature(*size)) == []
    network = build_network(settings, signature(*size)).eval()
    images = torch.randn(3, 3, *size)
    together = network({"image": images})
    assert together.shape == (3, 4)
    torch.testing.assert_close(network({"image": images[1:2]}), together[1:2], atol=1e-5, rtol=1e-4)


def test_the_place_of_a_patch_matters():
    settings = completed((8, 8), width=16, heads=2, patch=4)
    network = build_network(settings, signature(8, 8)).eval()
    image = torch.randn(1, 3, 8, 8)
    assert not torch.allclose(network({"image": image}), network({"image": image.roll(4, dims=3)}), atol=1e-6)


def test_each_place_has_other_sines():
    places = sines(5, 7, 16)
    assert places.shape == (35, 16)
    assert len(places.unique(dim=0)) == 35
    row, column = places[:, :8].view(5, 7, 8), places[:, 8:].view(5, 7, 8)
    assert torch.equal(row[:, 0], row[:, 6])
    assert torch.equal(column[0], column[4])


@pytest.mark.parametrize(
    ("size", "patch"), [((8, 8), 1), ((28, 28), 4), ((64, 64), 8), ((64, 200), 8), ((224, 224), 16), ((2, 3), 1)]
)
def test_eight_patches_stand_beside_each_other_unless_they_would_be_large(size, patch):
    assert completed(size).patch == patch


def test_stochastic_depth_leaves_out_the_last_block_most():
    settings = completed((8, 8), width=8, heads=2, layers=3, stochastic_depth=0.5)
    network = build_network(settings, signature(8, 8))
    shares = [each.share for each in network.modules() if isinstance(each, StochasticDepth)]
    assert shares == [0.25, 0.5]  # of the second and the third


def test_a_sample_is_left_out_as_a_whole_and_the_mean_stays():
    left_out = StochasticDepth(0.25)
    torch.manual_seed(0)
    passed = left_out(torch.ones(4000, 3, 2))
    assert set(passed.flatten().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert torch.equal(passed, passed[:, :1, :1].expand_as(passed))
    assert passed.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(left_out.eval()(passed), passed)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"width": 10, "heads": 4}, ("architecture.width", "10 cannot be divided by 4 heads; use 8")),
        (
            {"width": 6, "heads": 3},
            ("architecture.width", "6 cannot be divided by the 4 waves of sincos positions; use 4"),
        ),
        ({"patch": 14}, ("architecture.patch", "14 is larger than the 9x13 images; use at most 6")),
    ],
)
def test_sizes_that_do_not_fit_are_reported(settings, problem):
    assert [(each.path, each.message) for each in misfits(completed((9, 13), **settings), signature())] == [problem]


def test_it_takes_one_image_alone():
    both = Signature({"image": ImageInput(1, 8, 8), "numbers": NumbersInput(2)}, ClassOutput(("a", "b")))
    (problem,) = misfits(Vit(family="vit"), both)
    assert problem.message == "vit takes one image per sample and nothing else; use mlp"
