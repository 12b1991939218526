"""What a step of adversarial training penalises, draws and changes."""

import pytest
import torch

from stoker.randomness import Noise
from stoker.tasks.generation.differentiable_augmentation import augmented
from stoker.training.assembly import assemble
from stoker.training.events import StepEnd
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

SMALL = {"family": "gan", "channels": [4], "latent": 5}


@pytest.fixture
def prepared(tiny_data, make_job):
    def make(**architecture):
        training = {"batch_size": 16, "steps": 4, "precision": "fp32"}
        data = tiny_data("image-generation")
        return prepare(make_job("image-generation", data, architecture=SMALL | architecture, training=training))

    return make


@pytest.mark.parametrize(
    ("architecture", "penalised"),
    [({"loss": "wgan-gp", "critic_steps": 1}, [1, 2, 3, 4]), ({"r1": 1.0, "r1_every": 3}, [1, 4]), ({}, [])],
    ids=["wgan-gp", "r1", "none"],
)
def test_a_penalty_is_a_term_of_its_own_at_its_steps(prepared, architecture, penalised):
    events = list(train("r", start(assemble(prepared(**architecture)))))
    steps = [event for event in events if isinstance(event, StepEnd)]
    assert [event.step for event in steps if "penalty" in event.losses] == penalised


def test_each_turn_of_a_critic_has_noise_of_its_own_and_the_generator_takes_the_last(prepared):
    assembly = assemble(prepared(loss="wgan-gp", critic_steps=2))
    objective, seen = assembly.objective, []
    objective.generator.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    (step, *_) = assembly.batches().epoch(0)
    ((batch, noise),) = step.micro_batches
    for turn in objective.turns(0):
        objective(batch, turn, noise)
    first, second = seen  # of three turns
    assert not torch.equal(first, second)


def test_the_loss_chooses_norm_turns_and_optimizers_that_the_job_leaves_open(prepared):
    made = {loss: prepared(loss=loss) for loss in ("hinge", "wgan-gp")}
    chosen = {
        loss: (each.architecture.spectral_norm, each.architecture.critic_steps, each.job.training.optimizer)
        for loss, each in made.items()
    }
    assert chosen["hinge"][:2] == (True, 1)
    assert chosen["wgan-gp"][:2] == (False, 5)
    assert chosen["wgan-gp"][2]["discriminator"].betas == (0.0, 0.9)
    assert chosen["hinge"][2]["discriminator"].lr == 2 * chosen["hinge"][2]["generator"].lr


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_changed_alike_whatever_batch_they_are_in(channels):
    images = torch.randn(6, channels, 16, 12, requires_grad=True)
    one, other = augmented((images, images), Noise((0,), 6, 0, 6, images.device))
    assert torch.equal(one, other)
    (late,) = augmented((images[4:],), Noise((0,), 6, 4, 6, images.device))
    torch.testing.assert_close(late, one[4:])
    assert not torch.equal(one, images)
    (gradient,) = torch.autograd.grad(one.sum(), images)
    assert gradient.abs().sum() > 0
