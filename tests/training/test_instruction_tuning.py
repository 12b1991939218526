"""Adapters teach a small decoder, which only continued plain text before, to answer."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from stoker.datasets.sources.instructions import DAYS, OPPOSITES, instructions
from stoker.training.assembly import assemble
from stoker.training.evaluation import evaluate
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

ROOT = Path(__file__).parents[2]
ASKED = ("What is the opposite of {}?", "Name the opposite of {}.", "Which word is the opposite of {}?")
NEXT = ("Name the day after {}.", "Which day comes after {}?", "After {}, which day comes?")


@pytest.fixture(scope="module")
def program() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "bench" / "small_decoder.py"))


@pytest.fixture(scope="module")
def decoder(program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoder")
    program["make_decoder"](folder, steps=250, count=3_000, hidden_size=64, intermediate_size=128, num_hidden_layers=2)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_adapters_on_a_small_decoder_learn_their_answers_by_heart(decoder, make_job, tmp_path):
    known = {one: other for pair in OPPOSITES for one, other in (pair, pair[::-1])}
    pairs = [(form.format(word), answer) for form in ASKED for word, answer in known.items()]
    pairs += [(form.format(day), DAYS[(place + 1) % 7]) for form in NEXT for place, day in enumerate(DAYS)]
    talks = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in pairs]
    (tmp_path / "talks.jsonl").write_text("".join(f"{json.dumps({'messages': talk})}\n" for talk in talks))
    job = make_job(
        "instruction-tuning",
        {"source": str(tmp_path / "talks.jsonl"), "text": {"length": 64}},
        architecture={"family": "pretrained", "model": str(decoder), "lora": {"rank": 32, "alpha": 32}},
        training={
            "epochs": 70, "batch_size": 8, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 1.5e-3},
            "schedule": "cosine", "gradient_clip": 1.0, "evaluate": {"every": "70 epochs"},
        },
    )  # fmt: skip
    assembly = assemble(prepare(job))
    assert evaluate(assembly, "train", "fp32")["exact_match"] == 0.0
    for _ in train("r", start(assembly)):
        pass
    assert evaluate(assembly, "train", "fp32")["exact_match"] >= 0.9


def test_the_built_in_dialogues_are_different_and_always_the_same():
    talks = instructions().columns["messages"].tolist()
    assert len(set(talks)) == len(talks) == 2_000
    assert talks == instructions().columns["messages"].tolist()
    roles = [tuple(each["role"] for each in json.loads(talk)) for talk in talks]
    assert {("user", "assistant") * count for count in (1, 2, 3)} <= set(roles)
    assert {len(set(each)) for each in roles} == {2, 3}


def test_the_text_of_the_small_decoder_has_no_role_and_no_question_of_the_dialogues(program):
    text = "\n".join(program["documents"](program["DOCUMENTS"]))
    talks = [json.loads(talk) for talk in instructions().columns["messages"]]
    asked = {each["content"] for talk in talks for each in talk if each["role"] != "assistant"}
    assert [each for each in (*asked, "User", "Assistant", "The answer is") if each in text] == []
