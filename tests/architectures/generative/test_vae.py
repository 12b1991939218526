"""The likelihoods of pixels are probabilities, and a variational autoencoder knows its bound."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from stoker.architectures.generative.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian
from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.datasets.feeding.batch import Batch
from stoker.job.architecture.vae import Vae
from stoker.job.signature import ClassOutput, ImageInput, Signature
from stoker.randomness import Noise
from stoker.tasks.generation.variational import Bounded, Variational

LEVELS = torch.linspace(-1, 1, 256)


def test_the_probabilities_of_all_levels_add_up_to_one():
    drawn = torch.stack([torch.tensor([-1.2, -0.3, 0.02, 0.99]), torch.tensor([-6.0, -3.0, -1.0, 1.0])])
    likelihood = DiscretisedLogistic(1)
    nats = likelihood.nats(
        drawn.view(1, 2, 4, 1).expand(-1, -1, -1, 256), LEVELS.view(1, 1, 1, 256).expand(-1, -1, 4, -1)
    )
    torch.testing.assert_close((-nats).exp().sum(dim=3).flatten(), torch.ones(4), atol=1e-4, rtol=0)
    assert likelihood.nats(torch.tensor([0.0, 100.0]).view(1, 2, 1, 1), torch.ones(1, 1, 1, 1)).isfinite().all()
    assert likelihood.drawn(drawn.view(1, 2, 4, 1)).flatten().tolist() == pytest.approx([-1, -0.3, 0.02, 0.99])


def test_grey_is_black_or_white_for_a_bernoulli_distribution():
    likelihood = Bernoulli(1)
    images, logits = LEVELS.view(1, 1, 16, 16), torch.full((1, 1, 16, 16), 1.5)
    assert likelihood.seen(images).unique().tolist() == [-1, 1]
    assert (likelihood.seen(images) > 0).sum() == 128  # levels 128 to 255
    nats = likelihood.nats(logits, images)
    white = torch.tensor(1.5).sigmoid()
    assert float(nats.sum()) == pytest.approx(-128 * float(white.log() + (1 - white).log()), rel=1e-5)
    assert float(likelihood.drawn(logits)[0, 0, 0, 0]) == pytest.approx(2 * float(white) - 1)


def test_the_density_of_a_gaussian_is_that_of_torch():
    likelihood = Gaussian(3)
    torch.nn.init.normal_(likelihood.log_deviation)
    drawn, images = torch.randn(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    expected = -Normal(drawn, likelihood.log_deviation.exp()).log_prob(images)
    torch.testing.assert_close(likelihood.nats(drawn, images), expected)


@pytest.fixture
def network():
    signature = Signature({"image": ImageInput(1, 9, 7)}, ClassOutput(("a", "b")))
    settings = with_default_sizes(Vae(family="vae", latent=5, likelihood="bernoulli"), signature, 10)
    return build_network(settings, signature).eval()


def noise(*key: int, rows: int = 6) -> Noise:
    return Noise(key, rows, 0, rows, torch.device("cpu"))


def test_the_bound_is_that_of_the_posterior_and_the_drawn_image(network):
    images, classes = torch.rand(6, 1, 9, 7) * 2 - 1, torch.tensor([0, 1, 0, 1, 0, 1])
    nats, divergence = network.bounds({"image": images}, classes, noise(1))
    mean, log_variance = network._posterior(network.likelihood.seen(images), classes)
    posterior = Normal(mean, (log_variance / 2).exp())
    torch.testing.assert_close(divergence, kl_divergence(posterior, Normal(0.0, 1.0)))
    latent = mean + posterior.scale * noise(1).normal(5)
    expected = network.likelihood.nats(network._draw(latent, classes), images).sum(dim=(1, 2, 3))
    torch.testing.assert_close(nats, expected)


def test_images_are_of_the_asked_class_and_of_the_noise(network):
    first, again, other = (network.sample(torch.tensor([kind]), noise(2, rows=1)) for kind in (0, 0, 1))
    assert first.shape == (1, 1, 9, 7)
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)
    assert float(first.detach().abs().max()) <= 1


def test_what_training_pays_and_what_is_measured(network):
    inputs = {"image": torch.rand(6, 1, 9, 7) * 2 - 1}
    batch = Batch(
        inputs, torch.zeros(6, dtype=torch.int64), torch.arange(6.0), torch.arange(6), torch.arange(6), slice(6)
    )
    assert isinstance(network, Bounded)
    network.beta, network.free_bits = 3.0, 0.4
    objective = Variational(network)
    paid = objective.forward(batch, "network", noise(3))
    losses, made = objective.evaluate(batch, noise(3))
    _, divergence = network.bounds(inputs, batch.target, noise(3))
    divergence = divergence.detach()
    assert float(losses["divergence"].total.detach()) == pytest.approx(
        float((divergence.sum(dim=1) * batch.weight).sum())
    )
    assert float(losses["divergence"].count) == 15
    clamped = (divergence.clamp(min=0.4).sum(dim=1) * batch.weight).sum()
    assert float(paid["divergence"].detach()) == pytest.approx(3 * float(clamped), rel=1e-5)
    assert float(paid["reconstruction"].detach()) == pytest.approx(
        float(losses["reconstruction"].total.detach()), rel=1e-5
    )
    assert made.shape == (6, 1, 9, 7)


def test_a_likelihood_of_levels_costs_the_bits_of_an_image():
    """An untrained network is about as good as knowing nothing: 8 bits a pixel."""
    signature = Signature({"image": ImageInput(1, 8, 8)}, ClassOutput(()))
    settings = with_default_sizes(Vae(family="vae", likelihood="discretised-logistic"), signature, 10)
    network = build_network(settings, signature).eval()
    assert network.embedding is None
    nats, _ = network.bounds({"image": LEVELS[torch.randint(0, 256, (6, 1, 8, 8))]}, None, noise(4))
    assert float(nats.mean()) / 64 / math.log(2) == pytest.approx(8, abs=2)


def test_too_many_stages_are_refused():
    signature = Signature({"image": ImageInput(1, 9, 7)}, ClassOutput(("a", "b")))
    (problem,) = misfits(Vae(family="vae", channels=(4, 4, 4, 4, 4)), signature)
    assert (problem.path, "use at most 3" in problem.message) == ("architecture.channels", True)
    assert misfits(Vae(family="vae", channels=(4, 4, 4)), signature) == []
