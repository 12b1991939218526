"""Chat templates: what of a dialogue is learnt, how it is written, and what is left out of a long one."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.dialogues.messages import Dialogue, Message
from stoker.datasets.dialogues.templates import MarkedTemplate, ModelTemplate, from_asset
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.dialogue import DialogueField
from stoker.datasets.layouts.layout import Replies
from stoker.datasets.loading import load_dataset
from stoker.datasets.records import table
from stoker.datasets.tokens.tokenizer import END, MASK, PADDING
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS

LETTERS = json.dumps(" abcdef")
TALK = [
    {"role": "user", "content": "a b"},
    {"role": "assistant", "content": "ab"},
    {"role": "user", "content": "cd"},
    {"role": "assistant", "content": "dc"},
]
CHATML = (
    "{% for m in messages %}{% if loop.first and m['role'] == 'assistant' %}{{ raise_exception('a user begins') }}"
    "{% endif %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def fields(length: int = 40) -> Fields:
    field = DialogueField("messages", "characters", LETTERS, length, MarkedTemplate().asset())
    return Fields((field,), None, Replies("", 3))


def encoded(talk: list[dict[str, str]], length: int = 40) -> tuple[list[int], list[int]]:
    samples = fields(length).encode(table(pd.DataFrame({"messages": [talk]})))
    first = torch.tensor([0])
    return samples.inputs["messages"].take(first)[0].tolist(), samples.target.take(first)[0].tolist()  # type: ignore[union-attr]


def test_only_answers_with_their_ends_are_targets_and_all_of_them():
    tokens, targets = encoded(TALK)
    a, b, c, d = 5, 6, 7, 8
    assert tokens == [MASK, a, 4, b, END, MASK, MASK, a, b, END, MASK, c, d, END, MASK, MASK, d, c]
    assert targets == [0, 0, 0, 0, 0, 0, a, b, END, 0, 0, 0, 0, 0, 0, d, c, END]


def test_another_message_of_the_user_changes_no_target():
    other = [{"role": "user", "content": "f f"}, *TALK[1:]]
    assert encoded(other)[0] != encoded(TALK)[0]
    assert encoded(other)[1] == encoded(TALK)[1]


def test_a_long_dialogue_loses_whole_old_turns_and_then_its_end():
    whole = encoded(TALK)
    last = encoded(TALK[2:])
    assert encoded(TALK, 18) == whole
    assert encoded(TALK, 17) == last
    assert encoded(TALK, 7) == (last[0][:7], last[1][:7])


def load(tmp_path: Path, talks: list[Any], **text: Any) -> LoadedDataset:
    file = tmp_path / "d.jsonl"
    file.write_text("".join(f"{json.dumps({'messages': talk})}\n" for talk in talks))
    dataset = {"source": str(file), "split": "none", "text": {"tokens": "characters", **text}}
    return load_dataset(Dataset.model_validate(dataset), TASKS["instruction-tuning"])


def test_what_is_left_out_is_counted_in_notes(tmp_path):
    long = [{"role": "user", "content": "a" * 30}, TALK[1]]
    data = load(tmp_path, [TALK, TALK[:2], long, TALK[2:]], length=12)
    assert data.parts["train"].ids.tolist() == [0, 1, 3]
    assert data.counts == {"train": {"": 3}}
    limit = "12 characters (dataset.text.length)"
    assert data.notes == (
        f"column 'messages': 1 of 4 training dialogues are learnt without their oldest turns, to fit {limit}",
        f"column 'messages': 1 of 4 training dialogues are left out: no answer begins within {limit}",
    )
    with pytest.raises(JobError, match=r"2 tokens hold no training dialogue up to its answer.* raise it"):
        load(tmp_path, [TALK], length=2)


def test_a_prompt_keeps_the_last_turns_and_room_for_an_answer():
    layout = fields(12).dialogues
    talk: Dialogue = tuple(Message(each["role"], each["content"]) for each in TALK[:3])  # type: ignore[arg-type]
    assert layout.prompt(talk).tolist() == encoded(TALK[2:])[0][:6]


@pytest.fixture
def chat_model(tiny_model, tmp_path) -> Path:
    """A model with a template, whose answers end with a token that is not its end of a text."""
    from tokenizers import Tokenizer

    for file in tiny_model("gpt2").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.add_special_tokens(list(SPECIAL[1:]))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML, "eos_token": SPECIAL[0]}))
    return tmp_path


def test_the_template_of_a_model_is_its_own(chat_model):
    settings = Dataset.model_validate({"source": "d", "text": {"tokenizer": str(chat_model)}})
    field = DialogueField.fit("messages", pd.Series([json.dumps(TALK)]), settings)
    assert isinstance(field.chat, ModelTemplate)
    assert from_asset(field.template) == field.chat
    talk = tuple(Message(each["role"], each["content"]) for each in TALK)  # type: ignore[arg-type]
    rendered = field.rendered(talk, False)
    learnt = field.tokenizer.encode(["ab<|im_end|>", "dc<|im_end|>"])
    assert rendered.numbers[rendered.learnt].tolist() == [*learnt[0], *learnt[1]]
    assert field.ends == {END, learnt[0][-1]}
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast.from_pretrained(chat_model)
    asked = theirs.apply_chat_template(TALK[:3], add_generation_prompt=True, tokenize=True, return_dict=False)
    assert (field.prompt(talk[:3], 0) - 4).tolist() == list(asked)


def test_the_end_of_a_models_texts_ends_answers_where_it_has_no_template(tiny_model):
    settings = Dataset.model_validate({"source": "d", "text": {"tokenizer": str(tiny_model("gpt2"))}})
    field = DialogueField.fit("messages", pd.Series([json.dumps(TALK)]), settings)
    talk = tuple(Message(each["role"], each["content"]) for each in TALK[:2])  # type: ignore[arg-type]
    rendered = field.rendered(talk, False)
    assert rendered.numbers[0] == END
    assert field.tokenizer.decode(rendered.numbers) == "User: a b\nAssistant: ab\n"
    assert rendered.numbers[rendered.learnt].tolist() == [*field.tokenizer.encode([" ab"])[0], END]


@pytest.mark.parametrize(
    ("talk", "message"),
    [
        (TALK[1:], "row 1: the model's chat template refuses this dialogue (a user begins); order its messages so"),
        (
            [{"role": "user", "content": "a<|im_end|>"}, TALK[1]],
            "row 1: the content of message 1 has '<|im_end|>', by which the model's template tells turns",
        ),
    ],
    ids=["begins with an answer", "role markers"],
)
def test_what_a_models_template_refuses_is_named_with_its_row(talk, message, chat_model):
    with pytest.raises(JobError) as caught:
        load(chat_model, [talk], tokens=None, tokenizer=str(chat_model))
    assert message in caught.value.problems[0].message


def test_padding_is_no_part_of_an_answer_and_roles_are_shown():
    (field,) = fields().inputs
    assert isinstance(field, DialogueField)
    assert field.answer([5, 6, END, 7]) == field.answer([5, 6, PADDING]) == "ab"
    assert field.text(encoded(TALK)[0]) == "user: a b\nassistant: ab\nuser: cd\nassistant: dc"
