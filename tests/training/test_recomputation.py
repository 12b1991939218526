"""Layers that are computed again in the backward pass: the same training, with less kept in between."""

from typing import Any

import pytest
import torch
from torch import nn

from stoker.errors import JobError
from stoker.training.assembly import assemble
from stoker.training.events import StepEnd
from stoker.training.loop import start, train
from stoker.training.preparation import prepare
from stoker.training.recomputation import recomputable

pytestmark = pytest.mark.usefixtures("one_thread")


def changed(job: Any, **training: Any) -> Any:
    return job.model_copy(update={"training": job.training.model_copy(update=training)})


def losses_and_kept(job: Any) -> tuple[list[float], int]:
    """Return the losses of ten steps, and the bytes that a step keeps for its backward pass at most."""
    losses, kept = [], 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for event in train("r", start(assemble(prepare(job)))):
            if isinstance(event, StepEnd):
                losses.append(float(event.losses["loss"]))
                if len(losses) == 10:
                    break
    return losses, kept


def test_the_losses_are_the_same_bits_and_less_is_kept(probe):
    tokens = probe("tokens")
    plain, much = losses_and_kept(tokens)
    again, little = losses_and_kept(changed(tokens, activation_checkpoints=True))
    assert again == plain
    assert little < much / 2


@pytest.mark.parametrize(
    "task", ["text-classification", "fill-mask", "text-generation", "translation", "summarization"]
)
def test_layers_of_a_pretrained_model_are_computed_again(task, tiny):
    job = tiny(task, "pretrained", epochs=1)
    plain, much = losses_and_kept(job)
    again, little = losses_and_kept(changed(job, activation_checkpoints=True))
    assert again == plain
    assert little < much


def test_layers_with_running_statistics_are_left_as_they_are():
    first, second = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert recomputable(nn.Sequential(first, second)) == [first]


def test_a_network_without_lists_of_layers_has_nothing_to_compute_again(make_job):
    training = {"activation_checkpoints": True}
    job = make_job("image-classification", "digits", architecture={"family": "perceptron"}, training=training)
    with pytest.raises(JobError, match="no layer of this network can be computed again"):
        prepare(job)
