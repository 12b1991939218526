"""Compiled layers: kept where they are faster, and left out where they cannot be compiled."""

from typing import Any

import pytest
import torch

from stoker.training.assembly import assemble, prepare
from stoker.training.autotune import choose
from stoker.training.loop import StepEnd, start, train
from stoker.training.parallel import ALONE

pytestmark = pytest.mark.usefixtures("one_thread")


def compiled(job: Any) -> Any:
    training = job.training.model_copy(update={"compile": True})
    return job.model_copy(update={"training": training, "resources": job.resources.model_copy(update={"cpus": 1})})


def losses_of(job: Any) -> list[float]:
    events = train("r", start(assemble(prepare(job))))
    return [float(event.losses["loss"]) for event in events if isinstance(event, StepEnd)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_compiled_layers_train_as_the_layers_do_and_the_choice_is_told(probe, capsys):
    tokens = probe("tokens")
    assert losses_of(compiled(tokens)) == pytest.approx(losses_of(tokens), abs=1e-4)
    chosen = choose(prepare(compiled(tokens)), ALONE)
    said = capsys.readouterr().err
    assert ("kept" in said) is chosen.job.training.compile
    assert ("left out" in said) is not chosen.job.training.compile


@pytest.mark.slow
def test_a_machine_without_a_compiler_trains_without(probe, capsys, monkeypatch):
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    torch._dynamo.reset()
    chosen = choose(prepare(compiled(probe("tokens"))), ALONE)
    assert not chosen.job.training.compile
    assert "compile: left out, since it failed" in capsys.readouterr().err
