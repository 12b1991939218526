"""Tokens of a worker's steps: as many as its batches hold without padding, known before they are made."""

import pytest
import torch

from stoker.datasets.feeding.tokens import token_counts, tokens_of_steps
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.words import WordsField
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.job.task import TASKS
from stoker.training.assembly import assemble
from stoker.training.events import EpochEnd
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

TEXTED = [name for name, row in TASKS.items() if {"text", "words"} & {*row.inputs} and "number" not in row.inputs]
SMALL = {"family": "transformer", "width": 8, "heads": 2, "layers": 1}
BATCH, EPOCHS = 16, 2


@pytest.fixture
def assembly_of(tiny_data, make_job):
    def assembled(task, **network):
        training = {"epochs": EPOCHS, "batch_size": BATCH, "precision": "fp32", "micro_batch": 4}
        return assemble(prepare(make_job(task, tiny_data(task), training=training, **network)))

    return assembled


def counted(batch, fields) -> int:
    """Count the tokens of a batch that are no padding."""
    texts = [each if each.ndim == 2 else each[..., 0] for each in batch.inputs.values()]
    if isinstance(fields.target, TargetTextField):
        texts.append(batch.target[:, : fields.target.output.length])
    return sum(int((each != PADDING).sum()) for each in texts)


def test_workers_count_their_own_shares(assembly_of):
    assembly = assembly_of("text-classification", architecture=SMALL)
    alone = [step.tokens for step in assembly.batches().epoch(0)]
    counts = token_counts(assembly.parts["train"], assembly.data.fields)
    order = torch.arange(len(counts)).flip(0)
    shares = [range(7), range(7, 12), range(12, BATCH)]
    each = [tokens_of_steps(counts, order, BATCH, share) for share in shares]
    together = [sum(step) for step in zip(*each, strict=True)]
    assert together == tokens_of_steps(counts, order, BATCH, range(BATCH))
    assert sum(together) == sum(alone)


@pytest.mark.parametrize("task", TEXTED)
def test_each_step_counts_what_its_batches_hold(task, assembly_of):
    assembly = assembly_of(task, architecture=SMALL)
    assert any(isinstance(each, TextField | WordsField) for each in assembly.data.fields.inputs)
    steps = list(assembly.batches().epoch(1))
    held = [sum(counted(batch, assembly.data.fields) for batch, _ in step.micro_batches) for step in steps]
    assert [step.tokens for step in steps] == held
    assert len(set(held)) > 1
    assert [step.tokens for step in assembly.batches().epoch(1, 2)] == held[2:]


def test_other_samples_have_none(assembly_of):
    assembly = assembly_of("tabular-classification", architecture={"family": "mlp", "hidden": [4]})
    assert {step.tokens for step in assembly.batches().epoch(0)} == {0}


@pytest.mark.parametrize("task", ["text-generation", "translation"])
def test_training_counts_the_tokens_of_all_its_steps_and_their_time(task, assembly_of):
    assembly = assembly_of(task, architecture=SMALL)
    state = start(assembly)
    epochs = [event for event in train("r", state) if isinstance(event, EpochEnd)]
    expected = sum(step.tokens for epoch in range(EPOCHS) for step in assembly.batches().epoch(epoch))
    assert len(epochs) == EPOCHS
    assert state.throughput.tokens == expected > 0
    assert 0 < state.throughput.seconds < state.trained_s()
