"""A model that answers in a conversation: generate, predict, evaluate and the served model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.datasets.dialogues.messages import Message, as_cell
from stoker.errors import JobError
from stoker.inference.evaluation import evaluate
from stoker.inference.model import Model, save_model
from stoker.inference.prediction import predict
from stoker.inference.serving import Answering
from stoker.job.task import TASKS
from stoker.randomness import Noise
from stoker.tasks.writing.greedy_answers import _in_step, last_answers, likeliest
from stoker.training.assembly import Assembly, assemble
from stoker.training.evaluation import evaluate as evaluate_in_training
from stoker.training.evaluation import show
from stoker.training.loop import start, train
from stoker.training.preparation import prepare
from stoker.training.transfer import load_weights

OPPOSITES = {"hot": "cold", "big": "small", "old": "new", "wet": "dry"}
NETWORK = {"family": "transformer", "layers": 2, "width": 32, "heads": 2, "dropout": 0.0}


def trained(make_job: Any, dataset: Any, start_model: Path | None = None, **training: Any) -> Assembly:
    settings = {"batch_size": 16, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 4e-3}, **training}
    if start_model:
        settings["start_from"] = str(start_model)
    job = make_job("instruction-tuning", dataset, architecture=NETWORK, training=settings)
    assembly = assemble(prepare(job, start=start_model))
    if start_model:
        load_weights(assembly.objective, start_model)
    for _ in train("r", start(assembly)):
        pass
    return assembly


def saved(assembly: Assembly, folder: Path) -> Model:
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return Model.load(folder)


@pytest.fixture(scope="module")
def learnt(make_job, tmp_path_factory: pytest.TempPathFactory) -> tuple[Assembly, Model, Path]:
    """A model that knows opposites, and what the last question was about."""
    folder = tmp_path_factory.mktemp("answering")
    dice = np.random.default_rng(0)
    rows = []
    for _ in range(160):
        one, other = dice.choice([*OPPOSITES], 2)
        talk = [Message("user", f"opposite of {one}"), Message("assistant", OPPOSITES[one])]
        if dice.random() < 0.5:
            talk += [Message("user", f"opposite of {other}"), Message("assistant", OPPOSITES[other])]
        rows.append({"messages": json.loads(as_cell(tuple(talk)))})
    (folder / "talks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    dataset = {"source": str(folder / "talks.jsonl"), "text": {"tokens": "words", "length": 24}}
    assembly = trained(make_job, dataset, epochs=20)
    return assembly, saved(assembly, folder / "model"), folder


def test_answers_are_those_of_the_data(learnt):
    assembly, model, _ = learnt
    reported = evaluate_in_training(assembly, "test", "fp32")
    assert reported.keys() == TASKS["instruction-tuning"].metrics.keys()
    assert reported["exact_match"] >= 0.9
    assert evaluate(model) == {f"{n}/test": pytest.approx(v, rel=1e-4, abs=1e-6) for n, v in reported.items()}


def test_generate_predict_and_the_served_model_give_the_same_answers(learnt, tmp_path):
    _, model, folder = learnt
    asked = [f"opposite of {word}" for word in OPPOSITES]
    expected = ["".join(model.write(text, model.task.writing, 0)) for text in asked]
    assert expected == [*OPPOSITES.values()]
    (tmp_path / "new.txt").write_text("\n".join(asked) + "\n")
    pd.DataFrame({"prompt": asked}).to_csv(tmp_path / "new.csv", index=False)
    talks = [[{"role": "user", "content": text}] for text in asked]
    (tmp_path / "new.jsonl").write_text("".join(f"{json.dumps({'messages': talk})}\n" for talk in talks))
    for name in ("new.txt", "new.csv", "new.jsonl"):
        table = pd.concat([each.table for each in predict(model, str(tmp_path / name))], ignore_index=True)
        assert table["prediction"].tolist() == expected
    request = pd.DataFrame({"messages": [*asked, json.dumps(talks[0])]})
    answer = Answering(folder / "model").answer(request, {})
    assert isinstance(answer, pd.DataFrame)
    assert answer["prediction"].tolist() == [*expected, expected[0]]


def test_a_prediction_of_a_whole_dialogue_answers_its_last_question(learnt):
    _, model, folder = learnt
    rows = pd.read_json(folder / "talks.jsonl", lines=True)
    known = [talk[-1]["content"] for talk in rows["messages"]][:20]
    assert model.predict(rows.head(20)).table["prediction"].tolist() == known


def test_a_conversation_keeps_what_was_said_within_the_context(learnt):
    _, model, _ = learnt
    prompt = written = ""
    for word in [*OPPOSITES] * 3:  # of more tokens than the context has
        prompt = model.task.resumed(prompt, written, f"opposite of {word}\n")
        written = "".join(model.write(prompt, model.task.writing, 0))
        assert written == OPPOSITES[word]
    assert len(json.loads(prompt)) == 2 * len(OPPOSITES) * 3 - 1


def test_an_empty_prompt_and_a_bad_one_are_refused_with_the_cure(learnt):
    _, model, _ = learnt
    with pytest.raises(JobError, match="is empty; write messages"):
        list(model.write(" ", model.task.writing, 0))
    with pytest.raises(JobError, match="row 2: message 1 has the role 'bot'; use system, user or assistant"):
        model.predict(pd.DataFrame({"messages": ["Hi", json.dumps([{"role": "bot", "content": "a"}])]}))


def test_dialogues_are_shown_with_the_answer_of_the_data_and_of_the_model(learnt):
    page = show(learnt[0], "fp32")
    assert page is not None
    assert len(page.texts) == 4
    for text in page.texts:
        lines = text.splitlines()
        assert lines[0].startswith("user: opposite of ")
        assert lines[-3] == "assistant:"
        assert lines[-2].removeprefix("reference: ") == lines[-1].removeprefix("written:   ")


def test_answers_depend_neither_on_neighbours_nor_on_how_they_are_computed(learnt):
    assembly, _, _ = learnt
    field, samples = assembly.data.fields.dialogues.field, assembly.data.parts["test"]
    network = assembly.objective.network.eval()
    rows = torch.arange(len(samples))
    tokens, target = samples.inputs[field.name].take(rows), samples.target.take(rows)
    begins, behind = last_answers(target)
    for row in range(len(samples)):
        answer = target[row, begins[row] : behind[row]]
        assert (answer != 0).all()
        assert begins[row] == 0 or target[row, begins[row] - 1] == 0
    with torch.inference_mode():
        together = likeliest(network, field.name, tokens, begins, 4, field.ends, field.length)
        assert torch.equal(_in_step(network, field.name, tokens, begins, 4, field.ends, field.length), together)
        for row in range(len(samples)):
            alone = tokens[row : row + 1, : int(begins[row]) + 1]
            one = likeliest(network, field.name, alone, begins[row : row + 1], 4, field.ends, field.length)
            assert torch.equal(one[0], together[row])


def test_only_the_answers_give_gradients(learnt):
    assembly, _, _ = learnt
    field, samples = assembly.data.fields.dialogues.field, assembly.data.parts["train"]
    rows = torch.arange(4)
    tokens, target = samples.inputs[field.name].take(rows), samples.target.take(rows)
    logits = torch.randn(*tokens.shape, field.tokenizer.size, requires_grad=True)

    class Fixed(torch.nn.Module):
        def forward(self, inputs: Any) -> torch.Tensor:
            return logits

    class Few:
        inputs, weight = {field.name: tokens}, None  # never changed

    Few.target = target  # type: ignore[attr-defined]
    objective = assembly.task.objective(Fixed(), assembly.job.training)
    noise = Noise((1,), 4, 0, 4, torch.device("cpu"))
    objective(Few, "network", noise)["loss"].backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(dim=2) > 0, target != 0)
    assert float(objective.counts(Few, "network")["loss"]) == int((target != 0).sum())  # type: ignore[arg-type]


def test_two_columns_are_dialogues_of_one_exchange(learnt, make_job, tmp_path):
    frame = pd.DataFrame(
        {"prompt": [f"opposite of {w}" for w in OPPOSITES] * 10, "response": [*OPPOSITES.values()] * 10}
    )
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    dataset = {
        "source": str(tmp_path / "pairs.csv"), "columns": {"label": "response"},
        "text": {"tokens": "words", "length": 24},
    }  # fmt: skip
    gentle = {"type": "adamw", "lr": 1e-4}
    assembly = trained(make_job, dataset, learnt[2] / "model", epochs=1, optimizer=gentle)
    model = saved(assembly, tmp_path / "model")
    assert evaluate(model)["exact_match/test"] == 1.0, "it goes on from a model that knows opposites"
    assert evaluate(model, str(tmp_path / "pairs.csv"))["exact_match"] == 1.0
    answers = model.predict(frame[["prompt"]].head(4)).table["prediction"]
    assert answers.tolist() == [*OPPOSITES.values()]


def test_a_run_starts_from_one_that_has_read_texts(make_job, tmp_path):
    (tmp_path / "text.txt").write_text("the opposite of hot is cold and the opposite of big is small\n" * 60)
    dataset = {"source": str(tmp_path / "text.txt"), "text": {"tokens": "words", "length": 24}}
    training = {"epochs": 1, "batch_size": 16, "precision": "fp32"}
    reader = assemble(prepare(make_job("text-generation", dataset, architecture=NETWORK, training=training)))
    for _ in train("r", start(reader)):
        pass
    save_model(tmp_path / "reader", reader.job, reader.data.fields, reader.objective, reader.data.fingerprint)
    talk = [{"role": "user", "content": "opposite of hot"}, {"role": "assistant", "content": "cold"}]
    (tmp_path / "talks.jsonl").write_text(f"{json.dumps({'messages': talk})}\n" * 20)
    settings = {**training, "start_from": str(tmp_path / "reader")}
    source = {"source": str(tmp_path / "talks.jsonl"), "text": {"length": 24}}
    job = make_job("instruction-tuning", source, architecture=NETWORK, training=settings)
    prepared = prepare(job, start=tmp_path / "reader")
    assert prepared.data.fields.dialogues.field.vocabulary == reader.data.fields.text.vocabulary
    assert load_weights(assemble(prepared).objective, tmp_path / "reader") == ()


OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, signature):
        super().__init__()
        (self.name, shape), = signature.texts.items()
        self.embedding = nn.Embedding(shape.vocabulary, 32)
        self.recurrent = nn.GRU(32, 32, batch_first=True)
        self.output = nn.Linear(32, signature.output.vocabulary)

    def forward(self, inputs):
        return self.output(self.recurrent(self.embedding(inputs[self.name]))[0])
"""


def test_a_users_own_network_without_memory_answers(learnt, make_job, tmp_path, monkeypatch):
    (tmp_path / "answering_net.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"epochs": 12, "batch_size": 16, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 1e-2}}
    network = {"family": "custom", "class": "answering_net:Net"}
    job = make_job("instruction-tuning", learnt[0].job.dataset, architecture=network, training=settings)
    assembly = assemble(prepare(job))
    for _ in train("r", start(assembly)):
        pass
    model = saved(assembly, tmp_path / "model")
    written = ["".join(model.write(f"opposite of {word}", model.task.writing, 0)) for word in OPPOSITES]
    assert written == [*OPPOSITES.values()]
