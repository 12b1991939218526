"""A run that is interrupted anywhere ends in the same bytes."""

import random
from itertools import islice
from typing import Any

import pytest
import torch

from stoker.errors import Cause, TrainingFailed
from stoker.storage import MANIFEST, committed, open_storage
from stoker.training.assembly import assemble
from stoker.training.attempt import Saved, Saving, Stopped, attempt
from stoker.training.checkpoint import Checkpoints
from stoker.training.events import EpochEnd, StepEnd, TrainingEnd
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import prepare

PROBES = ("wgan_gp", "char_rnn", "denoising", "boxes")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def whole(digest):
    """Train without interruption, and hash the state after the last epoch."""

    def run(prepared: Any, workers: Workers = ALONE) -> str:
        state = start(assemble(prepared, workers))
        for event in train("r", state):
            if isinstance(event, EpochEnd) and state.reason:
                return digest(state)
        raise AssertionError

    return run


@pytest.fixture
def cut(digest):
    """Train with interruptions after random numbers of events, resuming from the storage; count the attempts."""

    def run(prepared: Any, folder: Any, seed: int, workers: Workers = ALONE) -> tuple[str, int]:
        dice = random.Random(seed)
        for number in range(1, 200):
            state = start(assemble(prepared, workers))
            checkpoints = Checkpoints(open_storage(str(folder)), "", 2, number)
            if workers.rank == 0:
                checkpoints.claim()
            checkpoints.restore(state)
            events = attempt("r", state, checkpoints, 1, lambda: "")
            own = (event for event in events if isinstance(event, StepEnd | EpochEnd))  # the same for every worker
            for event in islice(own, dice.randrange(3, 14)):
                if isinstance(event, EpochEnd) and state.reason:
                    checkpoints.finish()
                    return digest(state), number
            checkpoints.finish()  # a killed process would not: see the tests of whole runs
        raise AssertionError("it never got to its end")

    return run


@pytest.mark.parametrize("name", PROBES)
def test_a_repeatedly_interrupted_probe_ends_in_the_same_bytes(name, probe, whole, cut, tmp_path):
    job = probe(name)
    checkpoint = job.training.checkpoint.model_copy(update={"every": "3 steps"})
    prepared = prepare(job.model_copy(update={"training": job.training.model_copy(update={"checkpoint": checkpoint})}))
    found, attempts = cut(prepared, tmp_path, 7)
    assert attempts > 2
    assert found == whole(prepared)


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle", {"type": "plateau", "patience": 0}, {"type": "step"}])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_optimizers_and_schedules_resume_exactly(make_job, whole, cut, tmp_path, schedule, optimizer):
    training = {"batch_size": 50, "epochs": 6, "precision": "fp32", "schedule": schedule, "optimizer": optimizer}
    training |= {"checkpoint": {"every": "4 steps"}, "early_stopping": {"patience": 3}}
    network = {"family": "mlp", "hidden": [8, 8], "dropout": 0.2}
    prepared = prepare(make_job("tabular-classification", "iris", architecture=network, training=training))
    assert cut(prepared, tmp_path, 3)[0] == whole(prepared)


def test_mixed_images_and_averaged_weights_resume_exactly(make_job, whole, cut, tmp_path):
    training = {"batch_size": 256, "epochs": 3, "precision": "fp32", "mixup": 0.2, "cutmix": 1.0, "ema": 0.9}
    training |= {"checkpoint": {"every": "2 steps"}}
    dataset = {"source": "digits", "image": {"augment": ["zoom", "jitter", "erase", "randaugment"]}}
    network = {"family": "cnn", "channels": [4]}
    prepared = prepare(make_job("image-classification", dataset, architecture=network, training=training))
    found, attempts = cut(prepared, tmp_path, 5)
    assert attempts > 2
    assert found == whole(prepared)


def test_two_workers_end_in_the_same_bytes_and_their_checkpoint_restores_on_one_and_on_four(
    probe, in_workers, whole, cut, tmp_path
):
    job = probe("char_rnn")
    checkpoint = job.training.checkpoint.model_copy(update={"every": "3 steps"})
    prepared = prepare(job.model_copy(update={"training": job.training.model_copy(update={"checkpoint": checkpoint})}))
    undisturbed = in_workers(2, lambda workers: whole(prepared, workers))
    disturbed = in_workers(2, lambda workers: cut(prepared, tmp_path, 5, workers)[0])
    assert disturbed == undisturbed

    def losses_after(workers: Workers) -> list[float]:
        state = start(assemble(prepared, workers))
        folder = open_storage(str(tmp_path / "mid"))
        if not folder.keys(""):
            pytest.fail("nothing to open")
        Checkpoints(folder, "", 2, 9).restore(state)
        return [float(e.losses["loss"]) for e in islice(train("r", state), 12) if isinstance(e, StepEnd)]

    def leave(workers: Workers) -> None:
        state = start(assemble(prepared, workers))
        checkpoints = Checkpoints(open_storage(str(tmp_path / "mid")), "", 2, 1)
        for event in train("r", state):
            if isinstance(event, StepEnd) and event.step == 7:
                checkpoints.save(state)
                checkpoints.finish()
                return

    in_workers(2, leave)
    expected = losses_after(ALONE)
    for count in (2, 4):
        for found in in_workers(count, losses_after):
            assert found == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def iris(make_job):
    training = {"batch_size": 50, "epochs": 3, "precision": "fp32"}
    return prepare(make_job("tabular-classification", "iris", training=training))


def test_the_newest_undamaged_checkpoint_is_used_and_the_damage_is_reported(iris, tmp_path):
    state = start(assemble(iris))
    checkpoints = Checkpoints(open_storage(str(tmp_path)), "", 3, 1)
    for event in attempt("r", state, checkpoints, 1, lambda: ""):
        if isinstance(event, EpochEnd):
            checkpoints.finish()  # otherwise the next one may be skipped while this one is written
    newest = max(path for path in tmp_path.glob("step-*"))
    file = newest / "rank-0.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    again = start(assemble(iris))
    restored = Checkpoints(open_storage(str(tmp_path)), "", 3, 2).restore(again)
    assert restored is not None
    assert (restored.epoch, restored.step) == (2, 6)
    assert "rank-0.safetensors" in restored.damaged[0]


def test_only_the_newest_checkpoints_are_kept(iris, tmp_path):
    state = start(assemble(iris))
    events = list(attempt("r", state, Checkpoints(open_storage(str(tmp_path)), "", 1, 1), 1, lambda: ""))
    assert [(e.epoch, e.step) for e in events if isinstance(e, Saved)][-1] == (3, 9)
    assert len([path for path in tmp_path.glob("step-*") if (path / MANIFEST).exists()]) == 1
    assert len(list(tmp_path.glob("step-*"))) == 1


def test_a_stop_request_takes_effect_at_the_next_step_and_saves_a_checkpoint(iris, tmp_path):
    asked = []
    state = start(assemble(iris))
    checkpoints = Checkpoints(open_storage(str(tmp_path)), "", 2, 1)
    events = []
    for event in attempt("r", state, checkpoints, 1, lambda: "stop" if asked else ""):
        events.append(event)
        if isinstance(event, StepEnd) and event.step == 4:
            asked.append(True)
    assert [type(event) for event in events[-3:]] == [Saving, Saved, Stopped]
    assert events[-1].step in (4, 5)
    again = start(assemble(iris))
    restored = Checkpoints(open_storage(str(tmp_path)), "", 2, 2).restore(again)
    assert restored is not None
    assert restored.step == events[-1].step


def test_an_older_attempt_can_no_longer_commit(iris, tmp_path):
    storage = open_storage(str(tmp_path))
    old, new = Checkpoints(storage, "", 2, 1), Checkpoints(storage, "", 2, 2)
    old.claim()
    new.claim()
    state = start(assemble(iris))
    old.save(state)
    old.finish()
    assert not list(tmp_path.glob("step-*/manifest.json"))


def test_changed_data_is_refused(make_job, tmp_path):
    table = tmp_path / "table.csv"
    dataset = {"source": str(table), "columns": {"label": "label"}}
    training = {"batch_size": 20, "epochs": 1, "precision": "fp32"}

    def assembled():
        return assemble(prepare(make_job("tabular-classification", dataset, training=training)))

    table.write_text("x,label\n" + "".join(f"{i * 37 % 61},{'ab'[i % 2]}\n" for i in range(60)))
    storage = open_storage(str(tmp_path / "checkpoints"))
    list(attempt("r", start(assembled()), Checkpoints(storage, "", 2, 1), 1, lambda: ""))
    table.write_text(table.read_text().replace("36,b", "36,a"))
    with pytest.raises(TrainingFailed, match="the data has changed") as caught:
        Checkpoints(storage, "", 2, 2).restore(start(assembled()))
    assert caught.value.cause is Cause.BAD_DATA


def test_a_finished_run_continues_from_its_last_weights_with_a_new_schedule(iris, tmp_path):
    state = start(assemble(iris))
    events = list(attempt("r", state, Checkpoints(open_storage(str(tmp_path / "a")), "", 2, 1), 1, lambda: ""))
    before = [e for e in events if isinstance(e, EpochEnd)][-1].metrics["loss/train"]
    again = start(assemble(iris))
    Checkpoints(open_storage(str(tmp_path / "a")), "", 2, 1).continue_from(again)
    assert (again.epoch, again.step, again.reason) == (0, 0, "")
    assert again.schedules["network"].learning_rate == start(assemble(iris)).schedules["network"].learning_rate
    more = list(train("s", again))
    assert isinstance(more[-1], TrainingEnd)
    assert next(e for e in more if isinstance(e, EpochEnd)).metrics["loss/train"] < before


def test_a_run_continues_from_a_copy_of_another_checkpoint_with_its_own_learning_rate(make_job, tmp_path):
    def begun(name, lr, epochs):
        optimizer = {"type": "sgd", "lr": lr, "momentum": 0.9}
        training = {"batch_size": 50, "epochs": 6, "precision": "fp32", "schedule": "constant", "optimizer": optimizer}
        state = start(assemble(prepare(make_job("tabular-classification", "iris", training=training)), ALONE))
        checkpoints = Checkpoints(open_storage(str(tmp_path / name)), "", 2, 1)
        for event in train("r", state):
            if isinstance(event, EpochEnd):
                checkpoints.save(state)
                checkpoints.finish()
                if event.epoch == epochs:
                    break
        return state

    source, ahead = begun("source", 0.1, 2), begun("own", 0.01, 4)
    theirs, own = open_storage(str(tmp_path / "source")), open_storage(str(tmp_path / "own"))
    (newest,) = [key for key in committed(theirs, "") if "epoch-000002" in key]
    again = Checkpoints(own, "", 2, 2)
    again.claim()
    again.adopt(theirs, newest)
    state = start(ahead.assembly)
    again.restore(state)
    assert (state.epoch, state.step) == (2, source.step)
    assert all(torch.equal(value, source.weights()[name]) for name, value in state.weights().items())
    assert state.best == source.best
    ((optimizer,),) = state.optimizers.values()
    ((memory,),) = source.optimizers.values()
    for mine, others in zip(state.assembly.objective.parameters(), source.assembly.objective.parameters(), strict=True):
        assert torch.equal(optimizer.state[mine]["momentum_buffer"], memory.state[others]["momentum_buffer"])
    assert state.schedules["network"].learning_rate == 0.01
    assert next(iter(train("r", state))).learning_rates == {"network": 0.01}
    assert len(committed(own, "")) == 1  # nothing of its own is newer


def test_a_stop_request_between_two_epochs_takes_effect_there(make_job, tmp_path):
    training = {"batch_size": 50, "epochs": 6, "precision": "fp32"}
    state = start(assemble(prepare(make_job("tabular-classification", "iris", training=training)), ALONE))
    checkpoints = Checkpoints(open_storage(str(tmp_path)), "", 2, 1)
    requests = [""]
    events = []
    for event in attempt("r", state, checkpoints, 1, lambda: requests[0]):
        events.append(event)
        if isinstance(event, EpochEnd) and event.epoch == 2:
            requests[0] = "stop"
    *_, end, saving, _, stopped = events
    assert (end.step, end.epoch, state.batch) == (saving.step, 2, 0)
    assert stopped == Stopped("r", 2, end.step)
    assert checkpoints.newest == (2, end.step)
