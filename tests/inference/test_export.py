"""Exported models answer without Stoker like the runs that they come from."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.datasets.records import table
from stoker.datasets.tokens.tokenizer import END, SPECIAL
from stoker.errors import JobError
from stoker.inference.export import export
from stoker.inference.model import Model, save_model
from stoker.job.signature import QUESTION, WRITTEN
from stoker.tasks.writing.sampling import Writing
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare

TUNED: dict[str, dict[str, Any]] = {"whole": {}, "pooler": {"pooling": "pooler"}, "lora": {"lora": {"rank": 2}}}
TEXTS = ["a good film", "the bad plot was a bad plot", "was"]
BODIES = {"text-generation": "gpt2", "fill-mask": "mlm", "translation": "t5", "summarization": "bart"}


@pytest.fixture
def run(make_job, tiny_data, tiny_model, tmp_path):
    """Train a model for an epoch, at a high rate, and save it."""

    def train_one(task: str, kind: str, body: str = "", **more: Any) -> Model:
        model = str(tiny_model(body or BODIES.get(task, "bert")))
        architecture = {"family": "pretrained", "model": model, **TUNED[kind]}
        training = {"epochs": 1, "batch_size": 16, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 0.02}}
        job = make_job(task, {**tiny_data(task), **more}, architecture=architecture, training=training)
        assembly = assemble(prepare(job))
        list(train("r", start(assembly)))
        save_model(tmp_path / "saved", assembly.job, assembly.data.fields, assembly.objective, "data")
        return Model.load(tmp_path / "saved")

    return train_one


@pytest.fixture
def in_python(monkeypatch, tmp_path):
    """Run the code that loads an export, and more; return what `found` is then."""
    import transformers

    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))

    def use(code: str, more: str, **given: Any) -> Any:
        scope: dict[str, Any] = {"torch": torch, **given}
        exec(f"{code}\nmodel.eval()\n{more}", scope)  # our own code
        return scope["found"]

    return use


CLASSES = """
given = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    found = model(**given).logits, model.config.id2label
"""
FEATURES = """
given = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    features, there = model(**given).last_hidden_state, given["attention_mask"].unsqueeze(2)
    mean = (features * there).sum(dim=1) / there.sum(dim=1)
    found = mean @ head["weight"].T + head["bias"], None
"""


@pytest.mark.parametrize("task", ["text-classification", "multi-label-classification"])
@pytest.mark.parametrize(("kind", "merge"), [("whole", False), ("pooler", False), ("lora", True), ("lora", False)])
def test_an_exported_classifier_answers_like_the_run(task, kind, merge, run, in_python, tmp_path):
    text = {"columns": {"label": "label", "features": ["text"], "types": {"text": "text"}}}
    model = run(task, kind, **(text if task.startswith("multi") else {}))
    answers = model.predict(pd.DataFrame({"text": TEXTS})).table
    names = model.fields.signature.classes or model.fields.target.output.tags
    code = export(model, tmp_path / "out", merge)
    scores, labels = in_python(code, FEATURES if kind == "lora" and not merge else CLASSES, texts=TEXTS)
    found = scores.sigmoid() if task.startswith("multi") else scores.softmax(dim=1)
    expected = answers[[f"probability/{name}" for name in names]].to_numpy(dtype=np.float64)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-4  # the texts are told apart
    if labels:
        assert list(labels.values()) == list(names)


def test_an_exported_model_is_loaded_without_stoker(run, tmp_path):
    model = run("text-classification", "whole")
    code = export(model, tmp_path / "out", merge=False)
    program = f"import sys, json, torch\nsys.modules['stoker'] = None\ntexts = {TEXTS!r}\n{code}\n{CLASSES}"
    (tmp_path / "use.py").write_text(f"{program}\nprint(json.dumps(found[0].softmax(dim=1).tolist()))\n")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "use.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = model.predict(pd.DataFrame({"text": TEXTS})).table[["probability/blame", "probability/praise"]]
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), expected.to_numpy(np.float64), atol=1e-5)


GREEDY = """
ids = torch.tensor([[model.config.eos_token_id, *tokenizer(prompt)["input_ids"]]])
with torch.no_grad():
    written = model.generate(input_ids=ids, do_sample=False, max_new_tokens=8, attention_mask=torch.ones_like(ids))
    logits = model(input_ids=ids).logits[0, -1]
found = tokenizer.decode(written[0, ids.shape[1]:], skip_special_tokens=True), logits
"""


@pytest.mark.parametrize(("kind", "merge"), [("whole", False), ("lora", True), ("lora", False)])
def test_an_exported_writer_writes_like_the_run(kind, merge, run, in_python, tmp_path):
    lines = [f"{text}\n" for text in TEXTS] * 20
    (tmp_path / "lines.jsonl").write_text("".join(f"{json.dumps({'text': line})}\n" for line in lines))
    model = run("text-generation", kind, source=str(tmp_path / "lines.jsonl"), text={"length": 16})
    prompt = "a good"
    written = "".join(model.write(prompt, Writing(length=8, temperature=0.0), seed=0))
    tokens = torch.tensor([model.task.first_tokens(prompt)])
    with torch.no_grad():
        expected = model.network({model.fields.text.name: tokens})[0, -1]
    text, logits = in_python(export(model, tmp_path / "out", merge), GREEDY, prompt=prompt)
    assert text == written
    torch.testing.assert_close(model.network._logits(logits), expected, atol=1e-5, rtol=1e-5)


TOKENS = """
with torch.no_grad():
    output = model(input_ids=ids, token_type_ids=types)
found = output.logits if "logits" in output else torch.stack([output.start_logits, output.end_logits], dim=2)
"""


@pytest.mark.parametrize("task", ["token-classification", "question-answering"])
@pytest.mark.parametrize(("kind", "merge"), [("whole", False), ("lora", True)])
def test_an_exported_model_says_the_same_of_each_token(task, kind, merge, run, in_python, tmp_path):
    model = run(task, kind)
    rows = {"words": [["good", "film", "plot"]]}
    if task == "question-answering":
        rows = {"question": ["film"], "context": ["film good plot bad"]}
    samples = model.fields.encode(table(pd.DataFrame(rows)), target=False)
    inputs = model.fields.gather(samples, torch.tensor([0]))
    (given,) = inputs.values()
    with torch.no_grad():
        expected = model.network(inputs)[0]
    ids = model.network.numbers(given[..., 0])
    types = (given[..., 1] > QUESTION).long() if task == "question-answering" else torch.zeros_like(ids)
    (found,) = in_python(export(model, tmp_path / "out", merge), TOKENS, ids=ids, types=types)
    if task == "token-classification":
        words = given[0, :, 1].tolist()
        places = [words.index(word) for word in range(1, max(words) + 1)]
        found, expected = found[places], expected[: len(places)]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


TRANSLATED = """
given = tokenizer([prefix + text for text in texts], padding=True, return_tensors="pt")
with torch.no_grad():
    only = {"forced_eos_token_id": None, "suppress_tokens": [model.config.pad_token_id]}
    written = model.generate(**given, do_sample=False, num_beams=1, max_new_tokens=longest, **only)
    begun = torch.tensor([[model.config.decoder_start_token_id, 5, 9]] * len(texts))
    logits = model(**given, decoder_input_ids=begun).logits
found = tokenizer.batch_decode(written, skip_special_tokens=True), logits
"""


@pytest.mark.parametrize(("kind", "merge"), [("whole", False), ("lora", True), ("lora", False)])
@pytest.mark.parametrize("task", ["translation", "summarization"])
def test_an_exported_model_writes_other_texts_like_the_run(task, kind, merge, run, in_python, tmp_path):
    model = run(task, kind, text={"length": 20, "prefix": "red: "})
    model.network.beam = 1
    texts = ["the red dog", "no cat sees the dog", ""]
    frame = pd.DataFrame({"en": texts})
    expected = model.predict(frame).table["prediction"].tolist()
    inputs = model.fields.gather(model.fields.encode(table(frame), target=False), torch.arange(3))
    with torch.no_grad():
        logits = model.network({**inputs, WRITTEN: torch.tensor([[END, 5 + SPECIAL, 9 + SPECIAL]] * 3)})
    code, longest = export(model, tmp_path / "out", merge), model.fields.target.output.longest
    written, theirs = in_python(code, TRANSLATED, texts=texts, prefix="red: ", longest=longest)
    assert written == expected
    torch.testing.assert_close(logits[..., SPECIAL + 3 :], theirs[..., 3:], atol=1e-5, rtol=1e-4)
    assert theirs.std(dim=0).max() > 1e-4  # the texts are told apart


FILLED = """
given = tokenizer(text, return_tensors="pt")
place = given["input_ids"][0].tolist().index(tokenizer.mask_token_id)
with torch.no_grad():
    found = model(**given).logits[0, place].softmax(dim=0)
"""


@pytest.mark.parametrize("body", ["mlm", "bert"], ids=["own-output", "new-output"])
@pytest.mark.parametrize(("kind", "merge"), [("whole", False), ("lora", True), ("lora", False)])
def test_an_exported_model_fills_in_like_the_run(kind, merge, body, run, in_python, tmp_path):
    model = run("fill-mask", kind, body)
    answers = model.predict(pd.DataFrame({"text": ["the [MASK] was good"]})).table
    shares = in_python(export(model, tmp_path / "out", merge), FILLED, text="the [MASK] was good")
    tokenizer = model.fields.text.tokenizer
    named = [each.rsplit(" ", 1) for each in answers["candidates"][0].split(", ")]
    words = {tokenizer.decode([number]).strip(): number - SPECIAL for number in range(SPECIAL, tokenizer.size)}
    assert named[0][0] == answers["prediction"][0]
    for word, share in named:
        assert float(share) == pytest.approx(float(shares[words[word]] / shares[5:].sum()), abs=6e-3)
    assert shares.max() - shares.min() > 1e-3


def test_a_folder_with_files_is_not_overwritten(run, tmp_path):
    model = run("text-classification", "whole")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("")
    with pytest.raises(JobError, match="is there already; name a new folder, or delete it"):
        export(model, tmp_path / "out", merge=False)
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["mine.txt"]
    with pytest.raises(JobError, match=r"has trained no adapters .* leave out --merge"):
        export(model, tmp_path / "new", merge=True)
    assert not (tmp_path / "new").exists()


PROGRAMS = {
    "tabular-classification": "mlp",
    "image-classification": "cnn",
    "segmentation": "unet",
    "object-detection": "detector",
    "text-classification": "transformer",
    "token-classification": "transformer",
    "text-generation": "transformer",
}


@pytest.mark.parametrize("task", PROGRAMS)
def test_other_networks_are_exported_as_programs_of_torch(task, make_job, tiny_data, tmp_path):
    job = make_job(task, tiny_data(task), architecture=PROGRAMS[task])
    assembly = assemble(prepare(job))
    save_model(tmp_path / "saved", assembly.job, assembly.data.fields, assembly.objective, "data")
    model = Model.load(tmp_path / "saved")
    code = export(model, tmp_path / "out", merge=False)
    scope: dict[str, Any] = {}
    exec(code, scope)  # our own code
    inputs = model.fields.gather(assembly.parts["train"], torch.arange(4))
    with torch.no_grad():
        torch.testing.assert_close(scope["network"](inputs), model.network(inputs), atol=1e-5, rtol=1e-5)
    assert (tmp_path / "out" / "fields.json").is_file()


@pytest.mark.parametrize(("task", "family"), [("text-classification", "rnn"), ("translation", "transformer")])
def test_a_network_that_torch_cannot_trace_is_refused_with_the_place_of_its_weights(
    task, family, make_job, tiny_data, tmp_path, capfd
):
    assembly = assemble(prepare(make_job(task, tiny_data(task), architecture=family)))
    save_model(tmp_path / "saved", assembly.job, assembly.data.fields, assembly.objective, "data")
    with pytest.raises(
        JobError, match=rf"cannot write this network \({family}\): .*; its weights are in {tmp_path}/saved"
    ):
        export(Model.load(tmp_path / "saved"), tmp_path / "out", merge=False)
    assert not (tmp_path / "out").exists()
    assert "def forward" not in "".join(capfd.readouterr())
