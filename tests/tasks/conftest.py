"""What the tests of tasks share: rows without a dataset, and fields without data."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
import torch

from stoker.datasets.dialogues.templates import MarkedTemplate
from stoker.datasets.fields.boxes import BoxesField
from stoker.datasets.fields.category import CategoryField, ClassField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.normality import NormalityField
from stoker.datasets.fields.number import NumberField, ValueField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.tags import TagsField
from stoker.datasets.fields.texts.answer import AnswerField
from stoker.datasets.fields.texts.dialogue import DialogueField
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.word_tags import WordTagsField
from stoker.datasets.fields.texts.words import CHARACTERS, WordsField
from stoker.datasets.layouts.layout import Replies
from stoker.datasets.records import table
from stoker.datasets.tokens.tokenizer import END, PADDING
from stoker.job.signature import BlanksOutput, ContinuationOutput
from stoker.job.task import TASKS, TaskName
from stoker.tasks.choice import TASK_CLASSES
from stoker.tasks.task import Task

IMAGE = ImageField("image", 9, 8, 1, (100.0,), (50.0,))
WORDS = WordsField("words", json.dumps({"words": ["ann", "saw"], "characters": "Aansw"}), 6)
LETTERS = json.dumps(" abcdef")
WRITTEN = Fields((TextField("text", "characters", LETTERS, 6),), TargetTextField("y", "characters", LETTERS, 8, 8))
ASKED = Fields(
    (TextField("question", "characters", LETTERS, 24), TextField("context", "characters", LETTERS, 24)),
    AnswerField("answer", 4, optional=True),
)
QUESTIONS = {"question": "a b", "context": "ab cde fab cd fa", "answer": "cde"}
TALKED = Fields((DialogueField("messages", "characters", LETTERS, 24, MarkedTemplate().asset()),), None, Replies("", 4))
TALK = [
    {"role": "user", "content": "a b"},
    {"role": "assistant", "content": "ab"},
    {"role": "user", "content": "cd"},
    {"role": "assistant", "content": "dc"},
]
TABLE = (
    NumberField("length", 0.0, 0.0, 1.0, logarithm=False, flag=True),
    CategoryField("colour", ("blue", "red")),
)
FIELDS = {
    "tabular-classification": Fields((), ClassField("y", ("a", "b", "c"))),
    "tabular-regression": Fields((), ValueField("price", 100.0, 10.0)),
    "table-generation": Fields(TABLE, ClassField("y", ("a", "b"))),
    "image-classification": Fields((IMAGE,), ClassField("y", ("a", "b", "c"))),
    "segmentation": Fields((IMAGE,), MaskField("mask", (0, 128, 255), 9, 8)),
    "object-detection": Fields((IMAGE,), BoxesField("boxes", ("a", "b"))),
    "image-generation": Fields((IMAGE,), None),
    "reconstruction": Fields((IMAGE,), ClassField("y", ("a", "b", "c"))),
    "image-captioning": Fields((IMAGE,), TargetTextField("y", "characters", LETTERS, 8, 8)),
    "anomaly-detection": Fields((IMAGE,), NormalityField("y", ("a", "b"))),
    "text-classification": Fields(
        (TextField("text", "characters", json.dumps("\nabc"), 6),), ClassField("y", ("a", "b", "c"))
    ),
    "multi-label-classification": Fields((), TagsField("y", ("a", "b", "c"), ";")),
    "text-generation": Fields(
        (TextField("text", "characters", json.dumps("\nabc"), 6),), None, ContinuationOutput(8, borders=False)
    ),
    "token-classification": Fields(
        (WORDS,), WordTagsField("tags", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"), numbered=False, length=6)
    ),
    "translation": WRITTEN,
    "fill-mask": Fields((TextField("text", "characters", json.dumps("\nabc"), 6),), None, BlanksOutput(8, 6)),
    "summarization": WRITTEN,
    "question-answering": ASKED,
    "instruction-tuning": TALKED,
}


@dataclass
class Rows:
    """Some samples, as a task sees them."""

    inputs: dict[str, torch.Tensor]
    target: Any = None
    weight: torch.Tensor | None = None
    also: Any = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values()))) if self.target is None else len(self.target)


@pytest.fixture(scope="session")
def rows() -> type[Rows]:
    return Rows


@pytest.fixture(scope="session")
def task_of() -> Callable[[TaskName], Task]:
    """Make a task: three classes or tags, prices around 100, or images of 9x8 pixels and their masks."""
    assert FIELDS.keys() == TASKS.keys()
    return lambda name: TASK_CLASSES[name](FIELDS[name])


@pytest.fixture(scope="session")
def made() -> Callable[[TaskName, int], tuple[torch.Tensor, Rows]]:
    """Make outputs of a network with the samples they belong to: random, of any task."""

    def make(name: TaskName, count: int) -> tuple[torch.Tensor, Rows]:
        rng = torch.Generator().manual_seed(1)
        images = torch.randn(count, 1, 9, 8, generator=rng)
        match TASKS[name].target, name:
            case "number", _:
                outputs = torch.randn(count, 1, generator=rng)
                return outputs, Rows({}, 100 + 10 * (outputs[:, 0] + torch.randn(count, generator=rng)))
            case "mask", _:
                target = torch.randint(0, 3, (count, 9, 8), generator=rng).to(torch.uint8)
                return torch.randn(count, 3, 9, 8, generator=rng), Rows({"image": images}, target)
            case "normality", _:
                scores = 2 * torch.rand(count, 1 + 9 * 8, generator=rng)
                return scores, Rows({"image": images}, torch.randint(-1, 2, (count,), generator=rng))
            case "boxes", _:
                true = torch.zeros(count, 3, 5)
                true[..., 0] = torch.randint(0, 3, (count, 3), generator=rng)
                true[..., 1:3] = torch.rand(count, 3, 2, generator=rng) * 0.6
                true[..., 3:] = true[..., 1:3] + 0.1 + 0.3 * torch.rand(count, 3, 2, generator=rng)
                true *= true[..., :1] > 0
                found = torch.zeros(count, 4, 6)
                found[:, :3, 0] = (true[..., 0] - 1).clamp(min=0)
                found[:, :3, 2:] = true[..., 1:] + 0.05 * torch.rand(count, 3, 4, generator=rng) * (true[..., :1] > 0)
                found[:, 3, 2:] = torch.tensor([0.1, 0.1, 0.5, 0.4])
                found[..., 1] = torch.rand(count, 4, generator=rng)
                found[:, :3] *= true[..., :1] > 0
                return found, Rows({"image": images}, true)
            case "tags", _:
                tags = torch.randint(0, 2, (count, 3), generator=rng).to(torch.uint8)
                return torch.randn(count, 3, generator=rng), Rows({}, tags)
            case "continuation", _:
                target = torch.randint(4, 8, (count, 6), generator=rng)
                target[::3, 4:] = 0
                losses = torch.rand(count, 6, generator=rng) * (target != 0)
                return losses, Rows({"text": target.roll(1, dims=1)}, target)
            case "word-tags", _:
                target = torch.randint(1, 6, (count, 6), generator=rng)
                target[::3, 4:] = 0
                words = torch.randint(1, 6, (count, 6, 1 + CHARACTERS), generator=rng) * (target > 0).unsqueeze(2)
                return torch.randn(count, 6, 5, generator=rng), Rows({"words": words}, target)
            case "blanks", _:
                tokens = torch.randint(4, 8, (count, 6), generator=rng)
                tokens[::3, 4:] = 0
                hidden = torch.rand(count, 6, generator=rng) < 0.4
                hidden[:, 0] = True
                guesses = torch.where(torch.rand(count, 6, generator=rng) < 0.5, tokens, 5).masked_fill(~hidden, -1)
                losses = torch.rand(count, 6, generator=rng) * hidden
                return torch.stack([guesses.float(), losses], dim=2), Rows({"text": tokens})
            case "text", _:
                target = torch.randint(4, 11, (count, 9), generator=rng)
                target[:, 8], target[::3, 5:] = END, PADDING
                target[::3, 4] = END
                written = torch.where(torch.rand(count, 9, generator=rng) < 0.1, 5, target)
                written[::2] = target[::2]
                losses = torch.rand(count, 1, generator=rng)
                source = torch.randint(4, 11, (count, 6), generator=rng)
                source[::4, 3:] = PADDING
                inputs = {"image": images} if name == "image-captioning" else {"text": source}
                return torch.cat([losses, written], dim=1), Rows(inputs, target)
            case "replies", _:
                talked = TALKED.encode(table(pd.DataFrame({"messages": [TALK, TALK[:2]] * count})))
                taken = torch.arange(count)
                inputs, target = TALKED.gather(talked, taken), talked.target.take(taken)
                losses = torch.rand(count, target.shape[1], generator=rng)  # the first one stands for a mean, too
                return losses, Rows(inputs, target)
            case "answer", _:
                asked = ASKED.encode(table(pd.DataFrame([QUESTIONS, {**QUESTIONS, "answer": ""}] * count)))
                taken = torch.arange(count)
                inputs, target = ASKED.gather(asked, taken), asked.target.take(taken)
                return torch.randn(count, inputs["pair"].shape[1], 2, generator=rng), Rows(inputs, target)
            case _, "text-classification":
                tokens = torch.randint(4, 8, (count, 6), generator=rng)
                tokens[::3, 4:] = 0
                outputs = torch.randn(count, 3, generator=rng)
                return outputs, Rows({"text": tokens}, torch.randint(0, 3, (count,), generator=rng))
            case _, "image-classification":
                target = torch.randint(0, 3, (count,), generator=rng)
                return torch.randn(count, 3, generator=rng), Rows({"image": images}, target)
            case _, "reconstruction":
                target = torch.randint(0, 3, (count,), generator=rng)
                drawn = images + 0.1 * torch.randn(count, 1, 9, 8, generator=rng)
                parts = [images, drawn, torch.randn(count, 1, 1, 3, generator=rng)]
                return torch.cat([each.flatten(1) for each in parts], dim=1), Rows({"image": images}, target)
            case _, "table-generation":
                numbers, real = torch.randn(count, 2, 2, generator=rng).unbind(1)
                colours = torch.randint(0, 3, (count, 2), generator=rng)
                outputs = torch.cat([numbers, colours[:, :1].float()], dim=1)
                return outputs, Rows({"numbers": real, "categories": colours[:, 1:]})
            case _, "image-generation":
                return 0.5 * torch.randn(count, 1, 9, 8, generator=rng) + 0.2, Rows({"image": images})
            case _:
                return torch.randn(count, 3, generator=rng), Rows({}, torch.randint(0, 3, (count,), generator=rng))

    return make
