"""Spectral normalisation, and networks whose output is an image or a mask."""

import copy

import pytest
import torch
from torch import nn

from stoker.architectures.generative.spectral import SpectralNorm
from stoker.architectures.inputs import example_inputs
from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.job.architecture.gan import Gan
from stoker.job.architecture.unet import Unet
from stoker.job.signature import ClassOutput, ImageInput, MaskOutput, Signature
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

LAYERS = [
    (nn.Linear(6, 4), torch.randn(3, 6)),
    (nn.Conv2d(2, 5, 3, padding=1, stride=2), torch.randn(3, 2, 6, 6)),
    (nn.Embedding(4, 6), torch.tensor([0, 3, 1])),
]
each_layer = pytest.mark.parametrize(("layer", "given"), LAYERS, ids=["linear", "convolution", "embedding"])


@each_layer
def test_only_advance_updates_the_estimate(layer, given):
    norm = SpectralNorm(copy.deepcopy(layer))
    before = (norm.u.clone(), norm.v.clone())
    together = norm(given)
    apart = torch.cat([norm(given[:1]), norm(given[1:])])
    torch.testing.assert_close(together, apart, atol=1e-6, rtol=1e-5)
    assert torch.equal(norm.u, before[0])
    assert torch.equal(norm.v, before[1])
    with torch.no_grad():
        norm.layer.weight.copy_(torch.randn_like(norm.layer.weight))
    norm.advance()
    assert not torch.equal(norm.u, before[0])


@each_layer
def test_the_largest_singular_value_becomes_one(layer, given):
    norm = SpectralNorm(copy.deepcopy(layer))
    for _ in range(300):
        norm.advance()
    exact = copy.deepcopy(layer)
    with torch.no_grad():
        exact.weight.div_(torch.linalg.matrix_norm(layer.weight.flatten(1), 2))
    torch.testing.assert_close(norm(given), exact(given), atol=1e-5, rtol=1e-4)


@each_layer
def test_a_normed_layer_computes_in_bfloat16(layer, given):
    norm = SpectralNorm(copy.deepcopy(layer))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = norm(given)
    torch.testing.assert_close(rounded.float(), norm(given), atol=0.05, rtol=0.05)


def test_the_estimates_of_a_run_do_not_depend_on_micro_batches(make_job):
    found = []
    for micro_batch in (60, 60, 11):
        training = {
            "batch_size": 60,
            "micro_batch": micro_batch,
            "steps": 3,
            "precision": "fp32",
            "schedule": "constant",
        }
        training["optimizer"] = {"type": "sgd", "lr": 0.05, "momentum": 0.0}
        network = {"family": "gan", "channels": [4, 4], "latent": 3}
        state = start(
            assemble(prepare(make_job("image-generation", "digits", architecture=network, training=training)))
        )
        begun = {name: value.clone() for name, value in state.assembly.objective.named_buffers()}
        events = train("r", state)
        for _ in range(3):
            next(events)
        found.append(dict(state.assembly.objective.named_buffers()))
    whole, again, cut = found
    names = [name for name in whole if name.endswith((".u", ".v"))]
    assert len(names) == 2 * (2 + 1 + 1 + 1)  # two stages, the last convolution, classes and score
    for name in names:
        assert torch.equal(again[name], whole[name])
        torch.testing.assert_close(cut[name], whole[name], atol=1e-5, rtol=1e-4)
        assert not torch.equal(begun[name], cut[name]) or begun[name].numel() == 1


@pytest.mark.parametrize("blocks", ["plain", "residual"])
@pytest.mark.parametrize("classes", [(), ("a", "b")])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28)])
def test_a_gan_generates_images_of_the_datas_size_and_scores_them(blocks, classes, size):
    signature = Signature({"image": ImageInput(3, *size)}, ClassOutput(classes) if classes else None)
    settings = with_default_sizes(Gan(family="gan", latent=5, blocks=blocks), signature, 100)
    assert misfits(settings, signature) == []
    gan = build_network(settings, signature).eval()
    places = torch.tensor([0, 1, 0, 1]) if classes else None
    noise = torch.randn(4, 5)
    images = gan.generator(noise, places)
    assert images.shape == (4, 3, *size)
    assert gan.discriminator(images, places).shape == (4,)
    assert gan(example_inputs(signature, 2, "cpu")).shape == (2,)
    alone = torch.cat(
        [gan.generator(noise[i : i + 1], None if places is None else places[i : i + 1]) for i in range(4)]
    )
    torch.testing.assert_close(images, alone, atol=1e-5, rtol=1e-4)
    if classes:
        assert not torch.equal(gan.generator(noise, 1 - places), images)


def test_r1_beside_a_gradient_penalty_is_reported():
    signature = Signature({"image": ImageInput(1, 8, 8)})
    settings = with_default_sizes(Gan(family="gan", loss="wgan-gp", r1=1.0), signature, 100)
    assert [(each.path, each.message) for each in misfits(settings, signature)] == [
        ("architecture.r1", "does nothing for wgan-gp, which has gradient_penalty; leave it out")
    ]


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (33, 20)])
def test_a_unet_has_a_class_for_each_pixel_of_any_size(size):
    signature = Signature({"image": ImageInput(1, *size)}, MaskOutput(("0", "1", "2"), *size))
    settings = with_default_sizes(Unet(family="unet"), signature, 100)
    assert misfits(settings, signature) == []
    network = build_network(settings, signature).eval()
    images = torch.randn(2, 1, *size)
    together = network({"image": images})
    assert together.shape == (2, 3, *size)
    torch.testing.assert_close(network({"image": images[1:]}), together[1:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Unet(family="unet", channels=(2,) * 5), "5 stages halve images of 9 pixels to nothing; use at most 4"),
        (Gan(family="gan", channels=(2,) * 4), "4 stages halve images of 9 pixels to nothing; use at most 3"),
    ],
)
def test_more_stages_than_the_images_have_halves_are_reported(architecture, message):
    signature = Signature({"image": ImageInput(1, 9, 20)}, MaskOutput(("0", "1"), 9, 20))
    assert [(each.path, each.message) for each in misfits(architecture, signature)] == [
        ("architecture.channels", message)
    ]
