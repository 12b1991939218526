"""What tests of several folders share: jobs from a few words, real public data, and KubeRay's own schemas."""

import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import HealthCheck, settings
from jsonschema import Draft4Validator, FormatChecker, ValidationError, validators
from PIL import Image

from stoker.job.job import Job
from stoker.job.task import TASKS

PUBLIC_DATA = Path(__file__).parents[2] / "shared" / "data"
CHART = Path(__file__).parents[1] / "helm" / "stoker" / "Chart.yaml"
OPERATOR = "github.com/ray-project/kuberay/ray-operator"


@pytest.fixture(scope="session")
def make_job() -> Callable[..., Job]:
    """Make a job: `make_job("tabular-classification", "iris", training={"epochs": 2})`."""

    def make(task: str, dataset: Any, **sections: Any) -> Job:
        return Job.model_validate({"task": task, "dataset": dataset, **sections})

    return make


@pytest.fixture(scope="session")
def public_data() -> Callable[[str], Path]:
    """Find a file of the public datasets; the test is skipped where they are absent."""

    def find(name: str) -> Path:
        path = PUBLIC_DATA / name
        if not path.exists():
            pytest.skip(f"the public dataset {name} is not on this machine")
        return path

    return find


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Write 60 samples that a task can learn from; return the `dataset` section that reads them."""
    folder = tmp_path_factory.mktemp("tiny")
    written: dict[str, dict[str, Any]] = {}

    def dataset(task: str) -> dict[str, Any]:
        if task not in written:
            write = {"image": _write_images, "text": _write_texts}.get(TASKS[task].inputs[0], _write_table)
            place = folder / task
            place.mkdir()
            split = {"train": 0.7, "val": 0.15, "test": 0.15}
            own = {
                "mask": _write_masks,
                "continuation": _write_lines,
                "word-tags": _write_sentences,
                "text": _write_pairs,
                "blanks": _write_unlabelled,
                "answer": _write_questions,
                "replies": _write_dialogues,
            }
            written[task] = {**own.get(TASKS[task].target, write)(place), "split": split}
        return written[task]

    return dataset


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a random model of a type of transformers, with a tokenizer of the words of `tiny_data`; return its folder.

    A name such as `bert-still` is the same without dropout inside.
    """
    folder = tmp_path_factory.mktemp("models")

    def model(name: str) -> Path:
        if not (folder / name).exists():
            _write_model(folder / name, *name.split("-"))
        return folder / name

    return model


def pytest_configure() -> None:
    """Take Ctrl-C as a terminal sends it, which a shell in the background ignores; compute with one thread.

    Examples of hypothesis have no deadline, which one of them misses now and then on a busy machine.
    """
    settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy machine")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)  # several processes run tests, and their threads would wait for each other


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process, a thread or a changed environment behind."""
    environment, threads = _environment(), set(threading.enumerate())
    by_libraries = {name: value for name, value in os.environ.items() if name.startswith(SET_BY_LIBRARIES)}
    yield
    for name in [name for name in os.environ if name.startswith(SET_BY_LIBRARIES)]:
        del os.environ[name]
    os.environ.update(by_libraries)
    assert _environment() == environment, "the environment of the process was changed"
    deadline = time.monotonic() + ENDING_S
    while left := [*_processes_of(request.node.nodeid), *_threads_since(threads)]:
        assert time.monotonic() < deadline, f"still running after the test: {', '.join(left)}"
        time.sleep(0.05)


ENDING_S = 20.0
"""How long a process may take to end after its test, such as a driver that puts Ray away."""


SET_BY_LIBRARIES = ("CRC32C_", "KMP_", "MLFLOW_", "_MLFLOW_", "TORCHINDUCTOR_", "RAY_", "TUNE_")
"""Variables by which libraries are told, and tell their child processes, what to do; taken back after each test."""


def _environment() -> dict[str, str]:
    ignored = ("PYTEST_CURRENT_TEST", *SET_BY_LIBRARIES)
    return {name: value for name, value in os.environ.items() if not name.startswith(ignored)}


def _processes_of(test: str) -> Iterator[str]:
    """Name the processes that a test has started itself, rather than a fixture that others share."""
    mark = f"PYTEST_CURRENT_TEST={test} (call)".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in entry.read_bytes().split(b"\0") and int(entry.parent.name) != os.getpid():
                command = (entry.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command and not any(helper in command for helper in HELPERS):
                    yield f"process {entry.parent.name} ({command[:100].strip()})"


HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Processes that Python starts once, and keeps for whoever comes next."""


def _threads_since(before: set[threading.Thread]) -> Iterator[str]:
    for thread in set(threading.enumerate()) - before:
        if thread.is_alive() and not thread.daemon and not thread.name.startswith("Mlflow"):
            yield f"thread {thread.name}"


SAMPLES = 60


def _write_table(folder: Path) -> dict[str, Any]:
    """Numbers, some of them missing, a category and a weight; the label follows from them.

    Beside tags there are a text and the path of an image, too, which both tell them.
    """
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"length": rng.normal(size=SAMPLES), "width": rng.normal(size=SAMPLES)})
    frame["colour"] = rng.choice(["red", "blue"], SAMPLES)
    frame["weight"] = rng.random(SAMPLES).round(2)
    price = 10 * frame["length"] + (frame["colour"] == "red")
    columns: dict[str, Any] = {"label": "label", "weight": "weight"}
    frame["label"] = price if folder.name == "tabular-regression" else np.where(price > 0, "dear", "cheap")
    if TASKS[folder.name].target == "tags":  # type: ignore[index]
        frame["label"] = np.where(price > 0, "dear|", "") + frame["colour"]
        frame.loc[::7, "label"] = None
        frame["text"] = [f"a {'costly' if each > 0 else 'simple'} thing" for each in price]
        frame["photo"] = [f"{number:02}.png" for number in range(SAMPLES)]
        for name, each in zip(frame["photo"], price, strict=True):
            Image.fromarray(rng.integers(100 * (each > 0), 150, (8, 8)).astype(np.uint8)).save(folder / name)
        columns["types"] = {"text": "text", "photo": "image"}
    frame.loc[::9, "width"] = None
    frame.to_csv(folder / "table.csv", index=False)
    return {"source": str(folder / "table.csv"), "columns": columns}


def _write_images(folder: Path) -> dict[str, Any]:
    """Dark and bright images of 8x8 pixels; beside them the same without labels."""
    rng = np.random.default_rng(0)
    labels = np.array(["dark", "bright"] * (SAMPLES // 2))
    level = np.where(labels == "dark", 60, 180)[:, None, None]
    images = (level + rng.integers(-50, 50, (SAMPLES, 8, 8))).astype(np.uint8)
    np.savez(folder / "images.npz", image=images, label=labels)
    np.savez(folder / "unlabelled.npz", image=images)
    return {"source": str(folder / "images.npz")}


def _write_masks(folder: Path) -> dict[str, Any]:
    """Images of 10x9 pixels with a bright field, and their masks."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(SAMPLES):
        mask = np.zeros((10, 9), np.uint8)
        top, left = rng.integers(0, 5, 2)
        mask[top : top + 4, left : left + 4] = 255
        pixels = (mask // 2 + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
        Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
    return {"source": str(folder), "format": "image-mask"}


def _write_lines(folder: Path) -> dict[str, Any]:
    """Lines of a text, which are 40 pieces to learn from."""
    text = "the cat sat on the mat and the hat sat on the cat\n" * (SAMPLES * 8 // 50)
    (folder / "lines.txt").write_text(text)
    return {"source": str(folder / "lines.txt"), "text": {"length": 8}}


def _write_sentences(folder: Path) -> dict[str, Any]:
    """Sentences of 1 to 9 words, of which those with a capital are names of a person or a place."""
    rng = np.random.default_rng(0)
    tagged = {"Ann": "B-PER", "Bob": "B-PER", "Rome": "B-LOC", "Oslo": "B-LOC", "saw": "O", "left": "O", "and": "O"}
    sentences = []
    for _ in range(SAMPLES):
        words = rng.choice([*tagged], rng.integers(1, 9)).tolist()
        rows = [f"{word}\t{tagged[word]}" for word in words]
        sentences.append("\n".join([*rows, "Smith\tI-PER"] if words[-1] in ("Ann", "Bob") else rows))
    (folder / "sentences.conll").write_text("\n\n".join(sentences) + "\n")
    return {"source": str(folder / "sentences.conll")}


def _write_pairs(folder: Path) -> dict[str, Any]:
    """Sentences of 1 to 6 words, and the same in another language, with a weight for each."""
    rng = np.random.default_rng(0)
    words = {"the": "der", "red": "rote", "dog": "Hund", "sees": "sieht", "no": "kein", "cat": "Kater"}
    rows = []
    for _ in range(SAMPLES):
        text = rng.choice([*words], rng.integers(1, 7))
        translated = " ".join(words[word] for word in text)
        rows.append({"en": " ".join(text), "de": translated, "w": round(float(rng.random()), 2)})
    pd.DataFrame(rows).to_csv(folder / "pairs.csv", index=False)
    columns = {"label": "de", "features": ["en"], "weight": "w"}
    return {"source": str(folder / "pairs.csv"), "columns": columns, "text": {"tokens": "words", "length": 8}}


def _write_unlabelled(folder: Path) -> dict[str, Any]:
    """Sentences of 1 to 12 words."""
    written = _write_texts(folder)
    frame = pd.read_csv(written["source"])
    frame[["text"]].to_csv(written["source"], index=False)
    return {"source": written["source"], "text": {"length": 16}}


def _write_questions(folder: Path) -> dict[str, Any]:
    """What a film, a plot or the like is; a few texts are longer than a window, and some have no answer."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(SAMPLES):
        nouns = rng.permutation(["film", "plot", "cast", "thing", "and"])
        adjectives = rng.permutation(["good", "bad", "simple", "costly", "the"])
        pairs = 5 if number % 15 == 0 else int(rng.integers(1, 4))
        context = " ".join(f"{noun} {what}" for noun, what in zip(nouns[:pairs], adjectives, strict=False))
        there = number % 8 > 0
        asked = int(rng.integers(0, pairs)) if there else -1
        answer = adjectives[asked] if there or pairs == 5 else ""
        weight = round(float(rng.random()), 2)
        rows.append({"question": nouns[asked], "context": context, "answer": answer, "w": weight})
    pd.DataFrame(rows).to_csv(folder / "questions.csv", index=False)
    columns = {"label": "answer", "features": ["question", "context"], "weight": "w"}
    return {"source": str(folder / "questions.csv"), "columns": columns, "text": {"length": 12}}


def _write_dialogues(folder: Path) -> dict[str, Any]:
    """Dialogues of one to three turns, in which the assistant repeats a word, with a weight for each."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(SAMPLES):
        words = rng.choice(["film", "plot", "cast", "cat"], rng.integers(1, 4))
        messages = [{"role": "system", "content": "a thing"}] if number % 5 == 0 else []
        for word in words:
            messages += [{"role": "user", "content": f"the {word}"}, {"role": "assistant", "content": str(word)}]
        rows.append({"messages": messages, "w": round(float(rng.random()), 2)})
    (folder / "dialogues.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    columns = {"weight": "w"}
    return {"source": str(folder / "dialogues.jsonl"), "columns": columns, "text": {"tokens": "words", "length": 20}}


def _write_texts(folder: Path) -> dict[str, Any]:
    """Sentences of 1 to 12 words, of which one or two tell the label."""
    rng = np.random.default_rng(0)
    words = np.array(["the", "film", "plot", "cast", "was", "and", "a"])
    rows = []
    for number in range(SAMPLES):
        text = [*rng.choice(words, rng.integers(0, 11)), "good" if number % 2 else "bad"]
        rows.append({"text": " ".join(rng.permutation(text)), "label": "praise" if number % 2 else "blame"})
    pd.DataFrame(rows).to_csv(folder / "texts.csv", index=False)
    return {"source": str(folder / "texts.csv"), "columns": {"label": "label"}}


def _write_model(folder: Path, kind: str, still: str = "") -> None:
    """Write config.json, model.safetensors and tokenizer.json of a model with two layers.

    Args:
        folder: to write to.
        kind: a BERT (`bert`), the same with its output layers (`mlm`), a GPT-2 (`gpt2`), a T5 (`t5`) or BART (`bart`).
        still: not empty for a model without dropout.

    """
    write, tokenizer = {
        "bert": (_bert, _bert_tokenizer()),
        "mlm": (_bert, _bert_tokenizer()),
        "gpt2": (_gpt2, _gpt2_tokenizer()),
        "t5": (_t5, _t5_tokenizer()),
        "bart": (_bart, _bart_tokenizer()),
    }[kind]
    torch.manual_seed(0)
    write(tokenizer, 0.0 if still else 0.1, kind).save_pretrained(folder)
    tokenizer.enable_truncation(5)  # as of another use; it has no effect
    tokenizer.save(str(folder / "tokenizer.json"))


def _bert(tokenizer: Any, dropout: float, kind: str) -> Any:
    import transformers  # seconds to import, for the tests of pretrained models alone

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    own = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "max_position_embeddings": 12}
    config = transformers.BertConfig(vocab_size=tokenizer.get_vocab_size(), **sizes, **own)
    return transformers.BertForMaskedLM(config) if kind == "mlm" else transformers.BertModel(config)


def _gpt2(tokenizer: Any, dropout: float, kind: str) -> Any:
    import transformers

    end = tokenizer.token_to_id("<|endoftext|>")
    sizes = {"n_positions": 96, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": end, "eos_token_id": end}
    own = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=tokenizer.get_vocab_size(), **sizes, **own))


def _t5(tokenizer: Any, dropout: float, kind: str) -> Any:
    import transformers

    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "n_positions": 512}
    config = transformers.T5Config(
        vocab_size=tokenizer.get_vocab_size(), decoder_start_token_id=0, dropout_rate=dropout, **sizes
    )
    return transformers.T5ForConditionalGeneration(config)


def _bart(tokenizer: Any, dropout: float, kind: str) -> Any:
    import transformers

    sizes = {"d_model": 16, "max_position_embeddings": 24}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 2, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 32}
    config = transformers.BartConfig(vocab_size=tokenizer.get_vocab_size(), dropout=dropout, **sizes)
    return transformers.BartForConditionalGeneration(config)


WRITTEN = ["the film plot cast was and a good bad thing simple costly", "the cat sat on the mat and the hat\n"]


def _bert_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(WRITTEN, trainers.WordPieceTrainer(special_tokens=special, show_progress=False))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def _gpt2_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(WRITTEN, trainer)
    return made


def _t5_tokenizer() -> Any:
    """Cut texts into words of `_write_pairs` and letters, as SentencePiece."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    words = ["the", "red", "dog", "sees", "no", "cat", "der", "rote", "Hund", "sieht", "kein", "Kater"]
    parts = ["\u2581", *(f"\u2581{word}" for word in words), *"abcdefghijklmnopqrstuvwxyzHK.,:"]
    special = ["<pad>", "</s>", "<unk>"]
    made = Tokenizer(models.Unigram([*((name, 0.0) for name in special), *((part, -2.0) for part in parts)], 2))
    made.add_special_tokens(special)
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


def _bart_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["the red dog sees no cat", "der rote Hund sieht kein Kater"], trainer)
    ends = [("<s>", 0), ("</s>", 2)]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return made


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Put an MLflow store without runs at a path: MLflow takes seconds to make its tables."""
    template = tmp_path_factory.mktemp("tables") / "mlflow.db"

    def put(path: Path) -> None:
        if not template.exists():
            from mlflow import MlflowClient

            MlflowClient(f"sqlite:///{template}").search_experiments()
        shutil.copyfile(template, path)

    return put


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums in another order are other sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server over HTTP, by its URL."""
    from moto.server import ThreadedMotoServer  # a second to import, for the tests of buckets alone

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def client(s3_server: str) -> Any:
    """A client of the S3 server, made once: it takes half a second."""
    import boto3

    keys = {"aws_access_key_id": "somebody", "aws_secret_access_key": "something", "region_name": "us-east-1"}
    return boto3.session.Session(**keys).client("s3", endpoint_url=s3_server)


@pytest.fixture(scope="session")
def kuberay() -> Callable[[Any], list[str]]:
    """List what KubeRay's own schema refuses in a manifest, unknown fields included; skipped where it is absent."""
    known: dict[str, Any] = {}

    def refusals(manifest: Any) -> list[str]:
        kind, version = manifest["kind"], manifest["apiVersion"].removeprefix("ray.io/")
        if kind not in known:
            crd = yaml.load(_crd(kind).read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            (served,) = [each for each in crd["spec"]["versions"] if each["served"] and each["name"] == version]
            schema = _strict(served["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = METADATA
            known[kind] = CrdValidator(schema, format_checker=INTEGERS)
        return [f"{error.json_path}: {error.message}" for error in known[kind].iter_errors(manifest)]

    return refusals


TEXT = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
METADATA = {
    "properties": {"name": TEXT, "namespace": TEXT, "labels": TEXTS, "annotations": TEXTS},
    "required": ["name"],
    "additionalProperties": False,
}
"""What Stoker uses of an object's metadata, which a CRD leaves to the API server."""
INTEGERS = FormatChecker(())
INTEGERS.checks("int32")(lambda value: not isinstance(value, int) or -(2**31) <= value < 2**31)


def _crd(kind: str) -> Path:
    """Find a CRD of KubeRay: STOKER_TEST_RAYJOB_CRD or what lies beside it, else where Go keeps its modules."""
    named = os.environ.get("STOKER_TEST_RAYJOB_CRD")
    if named and kind == "RayJob":
        return Path(named)
    (dependency,) = yaml.safe_load(CHART.read_text())["dependencies"]
    module = f"{OPERATOR}@v{dependency['version'].removeprefix('~')}"
    go = Path(os.environ.get("GOPATH", "").split(os.pathsep)[0] or Path.home() / "go")
    modules = Path(os.environ.get("GOMODCACHE") or go / "pkg" / "mod")
    folder = Path(named).parent if named else modules / module / "config" / "crd" / "bases"
    path = folder / f"ray.io_{kind.lower()}s.yaml"
    if not path.is_file():
        pytest.skip(f"no {path.name} here: `go mod download {module}`, or name KubeRay's in STOKER_TEST_RAYJOB_CRD")
    return path


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Turn a structural schema of Kubernetes into a JSON Schema that knows no other fields than those it names."""
    made = dict(schema)
    if "properties" in schema:
        made["properties"] = {name: _strict(each) for name, each in schema["properties"].items()}
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            made[word] = _strict(schema[word])
    if schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") else made


def _one_of_each_key(_: Any, keys: list[str], items: Any, schema: Any) -> Iterator[ValidationError]:
    """Refuse two items of a list that Kubernetes takes for one, such as variables of one name."""
    known = schema["items"]["properties"]
    values = [tuple(item.get(key, known[key].get("default")) for key in keys) for item in items]
    for value in {value for value in values if values.count(value) > 1}:
        yield ValidationError(f"{dict(zip(keys, value, strict=True))} is there twice")


# OpenAPI 3.0, in whose words a CRD is written, is nearest to this draft.
CrdValidator = validators.extend(Draft4Validator, {"x-kubernetes-list-map-keys": _one_of_each_key})
