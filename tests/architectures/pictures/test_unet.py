"""The U-Net on its own blocks and on backbones, of whole images and in tiles."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.architectures.pictures.tiles import in_tiles, starts
from stoker.job.architecture.backbone import Backbone, BackboneClassifier
from stoker.job.architecture.unet import Unet
from stoker.job.signature import ClassOutput, ImageInput, MaskOutput, Signature


def signature(height: int, width: int, tile: tuple[int, int] | None = None, channels: int = 3) -> Signature:
    output = MaskOutput(("a", "b", "c"), height, width)
    return Signature({"image": ImageInput(channels, height, width, tile)}, output)


@pytest.mark.parametrize("size", [(16, 16), (13, 22)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "given",
    [
        {"blocks": "plain", "channels": (4, 8, 8)},
        {"blocks": "residual", "channels": (4, 8, 8)},
        {"coordinates": True, "channels": (4, 8, 8)},
        {"backbone": Backbone(name="test_resnet", library="timm"), "coordinates": True},
        {"backbone": Backbone(name="test_convnext", library="timm")},
    ],
    ids=["plain", "residual", "coordinates", "resnet with coordinates", "convnext"],
)
def test_each_pixel_of_an_image_of_any_size_has_an_output_of_its_own(given, channels, size):
    shape = signature(*size, channels=channels)
    settings = with_default_sizes(Unet(family="unet", **given), shape, 100)
    assert misfits(settings, shape) == []
    network = build_network(settings, shape).eval()
    images = torch.randn(3, channels, *size)
    together = network({"image": images})
    assert together.shape == (3, 3, *size)
    torch.testing.assert_close(network({"image": images[1:2]}), together[1:2], atol=1e-4, rtol=1e-4)


def test_a_backbone_without_maps_of_several_sizes_is_a_misfit():
    settings = Unet(family="unet", backbone=Backbone(name="test_vit", library="timm"))
    (problem,) = misfits(with_default_sizes(settings, signature(32, 32), 100), signature(32, 32))
    assert problem.path == "architecture.backbone.name"
    assert "has no maps of several sizes; use a convolutional network" in problem.message


def test_the_numbers_of_channels_are_those_of_the_way_up():
    settings = Unet(family="unet", channels=(4, 8), backbone=Backbone(name="test_resnet", library="timm"))
    (problem,) = misfits(settings, signature(32, 32))
    assert problem.message == "2 numbers for 5 sizes of maps on the way up; give 5"


@pytest.mark.parametrize("coordinates", [True, False])
def test_with_coordinates_a_network_can_learn_where_a_pixel_lies(coordinates):
    torch.manual_seed(0)
    shape = signature(32, 32)
    network = build_network(Unet(family="unet", channels=(8, 8), coordinates=coordinates), shape)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    truth = (torch.arange(32) >= 16).long().expand(2, 32, 32)  # left or right of the middle
    for _ in range(30):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network({"image": torch.ones(2, 3, 32, 32)}), truth)
        loss.backward()
        optimizer.step()
    assert (float(loss.detach()) < 0.3) is coordinates


def test_a_tile_has_no_coordinates():
    settings = Unet(family="unet", channels=(4, 8), coordinates=True)
    (problem,) = misfits(settings, signature(32, 32, tile=(16, 16)))
    assert problem.path == "architecture.coordinates"
    assert "leave out dataset.image.tile" in problem.message


@pytest.mark.parametrize(("side", "tile"), [(5, 8), (8, 8), (9, 8), (30, 8), (286, 256)])
def test_tiles_cover_a_side_and_overlap(side, tile):
    begins = starts(side, tile)
    assert begins[0] == 0
    assert begins[-1] == max(side - tile, 0)
    assert all(0 < after - before <= tile * 3 / 4 for before, after in pairwise(begins))


def test_what_looks_at_a_pixel_alone_says_the_same_in_tiles():
    images = torch.randn(2, 3, 20, 31)
    torch.testing.assert_close(in_tiles(lambda each: each * 2, images, (8, 8)), images * 2)


def test_a_network_that_learnt_from_tiles_sees_images_in_tiles():
    shape = signature(40, 24, tile=(16, 16))
    settings = with_default_sizes(Unet(family="unet"), shape, 100)
    assert settings.channels == (16, 32)  # by the size of the tile
    network = build_network(settings, shape).eval()
    seen: list[tuple[int, ...]] = []
    network.first.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[2:])))
    image = torch.randn(1, 3, 40, 24)
    assert network.decode({"image": image}, None).shape == (1, 3, 40, 24)
    assert set(seen) == {(16, 16)}
    assert network.decode({"image": image[..., :9, :9]}, None).shape == (1, 3, 9, 9)


def test_the_body_of_a_classifier_fits_that_of_a_unet():
    for library, name in (("timm", "test_resnet"), ("torchvision", "shufflenet_v2_x0_5")):
        chosen = Backbone(name=name, library=library)
        shape = signature(32, 32)
        classifier = build_network(
            BackboneClassifier(family="backbone", backbone=chosen), Signature(shape.inputs, ClassOutput(("a", "b")))
        )
        unet = build_network(with_default_sizes(Unet(family="unet", backbone=chosen), shape, 100), shape)
        known = {key: tuple(value.shape) for key, value in classifier.state_dict().items()}
        body = {key: tuple(value.shape) for key, value in unet.state_dict().items() if key.startswith("backbone.")}
        assert len(body) > 40
        assert body.items() <= known.items()
