"""Networks that write texts train to the same losses however the work is divided: a hundred steps, to 1e-5."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.job.job import Job
from stoker.training.assembly import assemble
from stoker.training.events import StepEnd
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import prepare

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare" / "input.txt"
STEPS = 100
NETWORKS = {
    "decoder": {"family": "transformer", "layers": 2, "width": 32, "heads": 4, "dropout": 0.0},
    "lstm": {"family": "rnn", "embedding": 16, "hidden": 32, "dropout": 0.0},
}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of a play, as far as it is there; otherwise sentences of a few words."""
    path = tmp_path_factory.mktemp("play") / "play.txt"
    if SHAKESPEARE.exists():
        path.write_text(SHAKESPEARE.read_text()[:60_000])
    else:
        names = itertools.product(("king", "queen", "fool"), ("loves", "hates", "sees"), ("the rose", "a crown", "her"))
        path.write_text("".join(f"The {who} {does} {what}.\n" for who, does, what in names) * 90)
    return path


@pytest.fixture(scope="module")
def losses(text: Path, make_job: Callable[..., Job]) -> Callable[..., list[float]]:
    def run(network: str, workers: Workers = ALONE, **training: Any) -> list[float]:
        dataset = {"source": str(text), "text": {"length": 32}}
        settings = {"batch_size": 16, "steps": STEPS, "precision": "fp32", "gradient_clip": 1.0, **training}
        resources = {"workers": workers.count}
        job = make_job(
            "text-generation", dataset, architecture=NETWORKS[network], training=settings, resources=resources
        )
        events = train("r", start(assemble(prepare(job), workers)))
        return [float(event.losses["loss"]) for event in events if isinstance(event, StepEnd)]

    return run


@pytest.mark.parametrize("network", NETWORKS)
def test_micro_batches_and_workers_do_not_change_the_losses(network, losses, in_workers):
    alone = losses(network)
    assert len(alone) == STEPS
    assert alone[-1] < alone[0] - 0.5
    assert losses(network, micro_batch=5) == pytest.approx(alone, abs=1e-5)
    for found in in_workers(2, lambda workers: losses(network, workers, micro_batch=3)):
        assert found == pytest.approx(alone, abs=1e-5)


def test_divided_weights_do_not_change_the_losses(losses, in_workers):
    alone = losses("decoder")
    for found in in_workers(2, lambda workers: losses("decoder", workers, parallel="fsdp")):
        assert found == pytest.approx(alone, abs=1e-5)
