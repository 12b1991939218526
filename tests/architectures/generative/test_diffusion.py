"""Levels of noise, the networks that take it out, and the samples that diffusers' schedulers make with them."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from stoker.architectures.generative.noise_levels import Diffused, Straight, added
from stoker.architectures.generative.samplers import sampled
from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.errors import JobError
from stoker.inference.generation import STRIP, Sampling, generate
from stoker.inference.model import Model, save_model
from stoker.job.architecture.diffusion import Diffusion
from stoker.job.job import Job
from stoker.job.signature import ClassOutput, ImageInput, Signature
from stoker.planning.run import make_plan
from stoker.randomness import Noise, PerSampleNoise, WalkNoise
from stoker.training.assembly import assemble
from stoker.training.initial_weights import set_initial_weights
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

SIGNATURE = Signature({"image": ImageInput(1, 9, 7)}, ClassOutput(("a", "b")))


def settings(**given) -> Diffusion:
    given = {"channels": (4, 8), "blocks": 1, "attention": 4, "sampling_steps": 3} | given
    return Diffusion.model_validate({"family": "diffusion", **given})


def noise(*key: int, rows: int = 6) -> Noise:
    return Noise(key, rows, 0, rows, torch.device("cpu"))


@pytest.mark.parametrize("way", ["cosine", "linear"])
def test_the_steps_add_as_much_noise_as_those_of_diffusers(way):
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    name = {"cosine": "squaredcos_cap_v2", "linear": "linear"}[way]
    theirs = DDIMScheduler(beta_schedule=name, beta_start=1e-4, beta_end=0.02).betas
    torch.testing.assert_close(torch.tensor(added(1000, way)), theirs, atol=1e-6, rtol=1e-4)
    few = torch.tensor(added(50, way), dtype=torch.float64)
    assert (1 - few).prod() < 0.01  # nothing of the image is left


@pytest.mark.parametrize("predicts", ["noise", "x0", "v"])
def test_each_target_tells_image_and_noise(predicts):
    levels = Diffused(100, "cosine", predicts, None)
    images, drawn, share = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3), torch.tensor([0.0, 0.3, 0.6, 0.99])
    spoilt, times, target, weights = levels.noised(images, drawn, share)
    assert times.tolist() == [0, 30, 60, 99]
    assert weights.tolist() == [1] * 4
    kept = levels.kept[times.long()].view(-1, 1, 1, 1)
    image = {
        "noise": (spoilt - (1 - kept).sqrt() * target) / kept.sqrt(),
        "x0": target,
        "v": kept.sqrt() * spoilt - (1 - kept).sqrt() * target,
    }[predicts]
    torch.testing.assert_close(image, images, atol=1e-3, rtol=1e-3)


def test_weights_by_signal_to_noise_are_those_of_the_error_of_the_image():
    share = torch.linspace(0, 0.99, 20)
    kept = Diffused(1000, "cosine", "x0", None).kept[(share * 1000).long()]
    ratio = kept / (1 - kept)
    images = torch.zeros(20, 1)
    for predicts, factor in {"x0": torch.ones(20), "noise": ratio, "v": ratio + 1}.items():
        *_, weights = Diffused(1000, "cosine", predicts, 5.0).noised(images, images, share)
        torch.testing.assert_close(weights * factor, ratio.clamp(max=5))


def test_a_straight_line_leads_from_image_to_noise():
    images, drawn = torch.randn(3, 2), torch.randn(3, 2)
    spoilt, times, target, weights = Straight(1000).noised(images, drawn, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(spoilt, torch.stack([images[0], 0.75 * images[1] + 0.25 * drawn[1], drawn[2]]))
    assert times.tolist() == [0, 250, 1000]
    torch.testing.assert_close(target, drawn - images)
    assert weights.tolist() == [1] * 3


@pytest.mark.parametrize(
    ("predicts", "sampler"),
    [
        ("noise", "ddim"),
        ("x0", "ddpm"),
        ("v", "dpm-solver++"),
        ("noise", "dpm-solver++"),
        ("v", "ddpm"),
        ("flow", "euler"),
    ],
)
def test_samples_of_a_perfect_denoiser_are_those_of_the_data(predicts, sampler):
    """Numbers of mean 0.3 and deviation 0.2, of which the best guess is known."""
    mean, deviation = 0.3, 0.2
    levels = Straight(1000) if predicts == "flow" else Diffused(1000, "cosine", predicts, None)

    def denoise(samples: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        share = float(time) / 1000 if predicts == "flow" else 1 - float(levels.kept[int(time)])
        signal, spoilt = (1 - share, share) if predicts == "flow" else (math.sqrt(1 - share), math.sqrt(share))
        variance = (signal * deviation) ** 2 + spoilt**2
        image = mean + signal * deviation**2 / variance * (samples - signal * mean)
        drawn = spoilt / variance * (samples - signal * mean)
        return {"noise": drawn, "x0": image, "v": signal * drawn - spoilt * image, "flow": drawn - image}[predicts]

    rows = noise(3, rows=2000)
    steps = 500 if sampler == "ddpm" else 50
    *_, made = sampled(levels, sampler, steps, True, rows.normal(1), rows, denoise)
    assert float(made.mean()) == pytest.approx(mean, abs=0.02)
    assert float(made.std()) == pytest.approx(deviation, abs=0.02)


@pytest.mark.parametrize("more", [{}, {"predicts": "flow"}, {"patch": 3, "channels": (4,), "attention": 0}])
def test_a_network_knows_level_and_class(more):
    shape = (1, 9, 6) if "patch" in more else (1, 9, 7)
    signature = Signature({"image": ImageInput(*shape)}, ClassOutput(("a", "b")))
    network = build_network(settings(**more), signature).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    images, classes = torch.randn(3, *shape), torch.tensor([0, 1, 0])
    outputs = [
        network.denoiser(images, torch.full((3,), time), known)
        for time, known in ((5.0, classes), (900.0, classes), (5.0, 1 - classes), (5.0, None))
    ]
    assert all(each.shape == images.shape for each in outputs)
    assert not any(torch.allclose(outputs[0], other, atol=1e-3) for other in outputs[1:])


def test_guidance_goes_beyond_the_class():
    network = build_network(settings(sampling_steps=1), SIGNATURE).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    classes, found = torch.tensor([0, 1, 0, 1, 0, 1]), {}
    for guidance in (0.0, 1.0, 2.0):
        network.guidance = guidance
        *_, found[guidance] = network._steps(noise(1).normal(1, 9, 7), classes, noise(2))
    torch.testing.assert_close(found[2.0] - found[1.0], found[1.0] - found[0.0], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(found[1.0], found[0.0], atol=1e-3)


def test_a_sample_is_the_last_of_its_steps():
    network = build_network(settings(), SIGNATURE).eval()
    steps, made = network.unfold(None, noise(1)), network.sample(None, noise(1))
    assert steps.shape == (4, 6, 1, 9, 7)
    assert torch.equal(steps[-1], made)
    assert torch.equal(steps[0], noise(1).normal(1, 9, 7).clamp(-1, 1))


def test_settings_that_do_not_fit_the_images_are_told():
    (problem,) = misfits(settings(patch=2), SIGNATURE)
    assert (problem.path, problem.message) == ("architecture.patch", "2 pixels do not divide images of 9x7")
    (problem,) = misfits(settings(channels=(4, 4, 4, 4)), SIGNATURE)
    assert problem.message == "4 stages halve maps of 7 pixels to nothing; use at most 3"
    (problem,) = misfits(settings(latent=True), SIGNATURE)
    assert "training.start_from" in problem.message
    signature = Signature({"image": ImageInput(3, 64, 64)}, None)
    assert with_default_sizes(settings(channels=None), signature, 10).channels == (32, 64, 128, 128)


def test_the_way_from_sample_to_sample_is_even():
    ends, walk = PerSampleNoise((1,), range(3)).normal(4), WalkNoise((1,), range(8), 4).normal(4)
    torch.testing.assert_close(walk[0], ends[0])
    torch.testing.assert_close(walk[4], ends[1])
    torch.testing.assert_close(walk[2], (ends[0] + ends[1]) / math.sqrt(2))


TRAINING = {"epochs": 1, "batch_size": 20, "precision": "fp32"}


def trained(job: Job, folder: Path, first: Path | None = None) -> Path:
    """Train for an epoch; return the folder of the model."""
    assembly = assemble(prepare(job, start=first))
    set_initial_weights(assembly, first)
    for _ in train("r", start(assembly)):
        pass
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return folder


@pytest.fixture(params=["vae", "autoencoder"])
def codes(request, tiny_data, make_job, tmp_path) -> Path:
    """The model of a run whose network makes codes of images."""
    task, code = {"vae": ("image-generation", "latent"), "autoencoder": ("reconstruction", "code")}[request.param]
    network = {"family": request.param, "channels": [4, 8], code: 5}
    job = make_job(task, tiny_data("image-generation"), architecture=network, training=TRAINING)
    return trained(job, tmp_path / "codes")


def test_codes_are_made_and_drawn(codes, tiny_data, make_job, tmp_path):
    network = {"family": "diffusion", "latent": True, "channels": [8, 8], "sampling_steps": 4}
    training = {**TRAINING, "start_from": str(codes)}
    job = make_job("image-generation", tiny_data("image-generation"), architecture=network, training=training)
    assert "weights come from the saved model" in " ".join(make_plan(job, weights=codes).notes)
    model = Model.load(trained(job, tmp_path / "model", codes))
    drawn, own = model.network.autoencoder.state_dict(), Model.load(codes).network.state_dict()
    assert all(torch.equal(drawn[name], own[name]) for name in own)
    assert float(model.network.deviation.min()) != 1
    made = list(generate(model, 5, 0))
    assert made[0][1].shape == (8, 8, 1)
    assert len({image.tobytes() for _, image in made}) > 1


def test_codes_need_a_network_that_makes_some(tiny_data, make_job, tmp_path):
    dataset, gan = tiny_data("image-generation"), {"family": "gan", "channels": [4, 8], "latent": 5}
    other = trained(make_job("image-generation", dataset, architecture=gan, training=TRAINING), tmp_path / "gan")
    network, training = {"family": "diffusion", "latent": True}, {**TRAINING, "start_from": str(other)}
    with pytest.raises(JobError, match=r"is a gan; latent diffusion needs autoencoder or vae"):
        prepare(make_job("image-generation", dataset, architecture=network, training=training), start=other)


def test_steps_guidance_strips_and_walks(tiny_data, make_job, tmp_path):
    network = {"family": "diffusion", "channels": [4], "blocks": 1, "sampling_steps": 9}
    job = make_job("image-generation", tiny_data("image-generation"), architecture=network, training=TRAINING)
    assert prepare(job).job.training.ema == 0.999
    model = Model.load(trained(job, tmp_path))
    one = [image for _, image in generate(model, 2, 0)]
    strip = list(generate(model, 2, 0, sampling=Sampling(strip=True)))
    assert [name for name, _ in strip] == ["bright"] * STRIP + ["dark"] * STRIP
    assert np.abs(strip[-1][1].astype(int) - one[1]).max() <= 1
    walk = list(generate(model, 2, 0, ("dark",), Sampling(walk=3)))
    assert [name for name, _ in walk] == ["dark"] * 6
    assert not np.array_equal(one[0], next(generate(model, 1, 0, sampling=Sampling(steps=2)))[1])
    list(generate(model, 1, 0, sampling=Sampling(guidance=3.0)))
    assert (model.network.sampling_steps, model.network.guidance) == (2, 3.0)
