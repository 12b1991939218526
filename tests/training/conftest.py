"""Workers as processes, small jobs of each task, and four objectives that test the contract with the loop."""

import hashlib
import itertools
import json
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file

from stoker.job.job import Job
from stoker.job.task import TASKS
from stoker.jobfile.loading import load_job
from stoker.training.parallel import Workers, join
from stoker.training.preparation import prepare
from stoker.training.snapshot import encode, take
from stoker.training.state import TrainingState

PROBES = Path(__file__).parents[1] / "probes"
TEXT = "the cat sat on the mat and the hat sat on the cat; a man had a hat, the man had a cat. "
FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [8], "dropout": 0.2},
    "perceptron": {},
    "cnn": {"channels": [4, 8], "dropout": 0.2},
    "residual": {"family": "cnn", "channels": [4, 4], "blocks": "residual"},
    "unet": {"channels": [4, 8, 8], "dropout": 0.2},
    "detector": {"channels": [8, 8], "width": 8, "depth": 1},
    "torchvision-detector": {"resnet": "resnet18", "width": 64},
    "vit": {"width": 8, "layers": 2, "heads": 2, "dropout": 0.2, "stochastic_depth": 0.2},
    "backbone": {"backbone": {"name": "test_resnet", "library": "timm"}, "dropout": 0.2},
    "autoencoder": {"channels": [4, 4], "code": 3, "noise": 0.2},
    "rows": {"family": "autoencoder", "hidden": [6], "code": 2, "noise": 0.2, "mask": 0.2, "sparse": 0.01},
    "spoilt": {"family": "autoencoder", "channels": [4], "code": 3, "noise": 0.2, "mask": 0.2, "sparse": 0.01},
    "feature-distance": {"channels": [4, 8], "bank": 20, "turns": True},
    "patches": {"family": "feature-distance", "channels": [4, 8], "frozen": True, "level": "patches"},
    "gaussian": {"family": "feature-distance", "channels": [4], "distance": "gaussian"},
    "patch-core": {
        "family": "feature-distance",
        "backbone": {"name": "test_resnet", "library": "timm"},
        "frozen": True,
        "level": "patches",
        "bank": 30,
    },
    "tiles": {"family": "unet", "channels": [4, 8], "blocks": "residual"},
    "weighted": {"family": "backbone", "backbone": {"name": "test_resnet", "library": "timm", "frozen_stages": 2}},
    "captioner": {"channels": [4, 4], "width": 8, "heads": 2, "layers": 1, "dropout": 0.2, "word_dropout": 0.2},
    "captioner-vit": {"family": "captioner", "encoder": "vit", "width": 8, "heads": 2, "layers": 1, "dropout": 0.2},
    "captioner-backbone": {
        "family": "captioner",
        "backbone": {"name": "test_resnet", "library": "timm"},
        "width": 8,
        "heads": 2,
        "layers": 1,
    },
    "rnn": {"embedding": 6, "hidden": 5, "layers": 2, "word_dropout": 0.2},
    "gru": {"family": "rnn", "cell": "gru", "embedding": 6, "hidden": 5, "bidirectional": False, "word_dropout": 0.2},
    "transformer": {"width": 8, "heads": 2, "word_dropout": 0.2},
    "counted": {"family": "transformer", "width": 8, "heads": 2, "word_vectors": "co-occurrence"},
    "pretrained": {"dropout": 0.2},
    "lora": {"family": "pretrained", "dropout": 0.2, "lora": {"rank": 2, "dropout": 0.2}},
    "frozen": {"family": "pretrained", "dropout": 0.2, "frozen": 1},
    "gan": {"channels": [4, 8], "latent": 5},
    "vae": {"channels": [4, 8], "latent": 5},
    "diffusion": {"channels": [4, 8], "blocks": 1, "attention": 4, "sampling_steps": 2, "guidance": 2.0},
    "flow": {"family": "diffusion", "channels": [4], "blocks": 1, "predicts": "flow", "patch": 2, "sampling_steps": 2},
    "discrete-vae": {
        "family": "vae",
        "channels": [4],
        "latent": 3,
        "likelihood": "discretised-logistic",
        "beta": 2.0,
        "free_bits": 0.1,
    },
    "tabular-diffusion": {"width": 8, "layers": 1, "steps": 3},
    "wgan-gp": {"family": "gan", "channels": [4, 8], "latent": 5, "loss": "wgan-gp", "critic_steps": 2},
    "residual-gan": {
        "family": "gan",
        "channels": [4],
        "latent": 5,
        "blocks": "residual",
        "r1": 0.1,
        "r1_every": 2,
        "augment": "differentiable",
    },
    "plain-gan": {"family": "gan", "channels": [4], "latent": 5, "loss": "non-saturating", "spectral_norm": False},
}
MODELS = {
    "text-generation": "gpt2",
    "instruction-tuning": "gpt2",
    "fill-mask": "mlm",
    "translation": "t5",
    "summarization": "bart",
}
"""Pretrained models with an output layer of their own; those of all other tasks are a BERT."""
LENGTHS = {"text-generation": 3, "instruction-tuning": 64, "translation": 8, "summarization": 16}
"""Tokens of a pretrained model, which are longer than characters, and shorter than words."""
FEATURES = {
    "cnn": ["photo"],
    "vit": ["photo"],
    "backbone": ["photo"],
    "rnn": ["text"],
    "transformer": ["text"],
    "pretrained": ["text"],
}
"""The columns that a family for one kind of input takes from a table with all kinds."""


JOIN_S, ANSWER_S = 200.0, 240.0
"""On a busy machine the processes may start and meet long after each other."""


def _worker(rank: int, count: int, address: str, work: Callable[[Workers], Any], answers: Any) -> None:
    torch.set_num_threads(1)
    try:
        with join(rank, count, torch.device("cpu"), address, JOIN_S) as workers:
            answers.put((rank, pickle.dumps(work(workers))))  # as bytes: shared tensors would be lost with the worker
    except BaseException as error:
        answers.put((rank, pickle.dumps(error)))
        raise


def _meet(count: int, address: str, work: Callable[[Workers], Any]) -> list[Any]:
    context = multiprocessing.get_context("fork")  # the parent's imports need not be repeated
    answers = context.Queue()
    processes = [context.Process(target=_worker, args=(r, count, address, work, answers)) for r in range(count)]
    for process in processes:
        process.start()
    results = {}
    try:
        for _ in processes:
            rank, answer = answers.get(timeout=ANSWER_S)
            results[rank] = pickle.loads(answer)
            if isinstance(results[rank], BaseException):
                raise results[rank]
        for process in processes:
            process.join(30)
            assert process.exitcode == 0
    finally:
        for process in processes:
            process.kill()  # without effect on one that has ended; else it waits for its peers
    return [results[rank] for rank in range(count)]


@pytest.fixture(scope="session")
def in_workers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, Callable[[Workers], Any]], list[Any]]:
    """Run a function in several workers at once; return their results by rank."""
    folder, numbers = tmp_path_factory.mktemp("meetings"), itertools.count()

    def run(count: int, work: Callable[[Workers], Any]) -> list[Any]:
        # They meet by a file: another test could take a port that is free now.
        try:
            return _meet(count, f"file://{folder}/{next(numbers)}", work)
        except RuntimeError as error:
            if "connectFullMesh" not in str(error):
                raise
            # Once in thousands of times gloo loses a connection while the workers meet; a run would begin again.
            return _meet(count, f"file://{folder}/{next(numbers)}", work)

    return run


@pytest.fixture(scope="session")
def backbone_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a file with the weights of a backbone."""
    file = tmp_path_factory.mktemp("backbone") / "weights.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), file)
    return file


@pytest.fixture(scope="session")
def tiny(tiny_data, tiny_model, backbone_weights, make_job) -> Callable[..., Job]:
    """Build a small job of a task with a family or a variant of it: three steps per epoch, the last one uneven."""

    def make(task: str, variant: str, dropout: bool = True, **training: Any) -> Job:
        architecture = {"family": variant, **FAMILIES[variant]}
        dataset = dict(tiny_data(task))
        if not dropout and architecture["family"] in (
            "mlp",
            "cnn",
            "unet",
            "vit",
            "backbone",
            "captioner",
            "rnn",
            "transformer",
        ):
            architecture |= dict.fromkeys(
                {"dropout", "word_dropout", "stochastic_depth"} & {"dropout", *architecture}, 0.0
            )
        if variant in ("weighted", "patch-core"):
            architecture["backbone"] = {**architecture["backbone"], "weights": str(backbone_weights)}
        if variant == "tiles":
            dataset["image"] = {"tile": [8, 6], "augment": ["flip"]}
        if architecture["family"] == "pretrained":
            model = MODELS.get(task, "bert")
            architecture["model"] = str(tiny_model(model + ("" if dropout else "-still")))
            if not dropout:
                architecture |= {"dropout": 0.0, **({"lora": {"rank": 2}} if variant == "lora" else {})}
            if model != "bert":
                del architecture["dropout"]  # it has no head
            if task in LENGTHS:
                dataset["text"] = {"length": LENGTHS[task]}
        settings = {"batch_size": 16, "epochs": 2, "precision": "fp32", "schedule": "constant", **training}
        family = architecture["family"]
        if "number" in TASKS[task].inputs and family in FEATURES:  # type: ignore[index]
            dataset["columns"] = {**dataset["columns"], "features": FEATURES[family], "types": {"text": "text"}}
        if variant == "rows":
            dataset = dict(tiny_data("tabular-classification"))
            if task == "anomaly-detection":
                dataset["source"] = str(write_odd_rows(Path(dataset["source"])))
                dataset["columns"] = {**dataset["columns"], "normal": ["cheap"]}
        if variant == "plain-gan":
            dataset["source"] = dataset["source"].replace("images.npz", "unlabelled.npz")
        return make_job(task, dataset, architecture=architecture, training=settings)

    return make


@pytest.fixture(scope="session")
def probe(tmp_path_factory) -> Iterator[Callable[[str], Job]]:
    """Load the job of a probe, with its code importable as in a run."""
    sys.path.insert(0, str(PROBES))
    table = tmp_path_factory.mktemp("text") / "text.csv"
    write_text_table(table)

    def load(name: str) -> Job:
        text = (PROBES / f"{name}.yaml").read_text(encoding="utf-8").replace("DATA", str(table))
        file = table.with_name(f"{name}.yaml")
        file.write_text(text, encoding="utf-8")
        (file.with_name(f"{name}.py")).write_text((PROBES / f"{name}.py").read_text())
        return prepare(load_job(file).job).job

    yield load
    sys.path.remove(str(PROBES))


def write_odd_rows(path: Path) -> Path:
    """Write a table again, with the ten longest things as the only dear ones."""
    frame = pd.read_csv(path)
    frame["label"] = np.where(frame["length"].rank(ascending=False) <= 10, "dear", "cheap")
    frame.to_csv(path.with_name("odd.csv"), index=False)
    return path.with_name("odd.csv")


def write_text_table(path: Path, window: int = 6, rows: int = 100) -> None:
    """Cut a text into consecutive windows, each with the character after it."""
    text = (TEXT * (1 + window * (rows + 1) // len(TEXT))).replace(",", "-").replace(" ", "_")
    lines = [",".join([*(f"c{i}" for i in range(window)), "next"])]
    for row in range(rows):
        lines.append(",".join(text[row * window : (row + 1) * window + 1]))
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="session")
def digest() -> Callable[[TrainingState], str]:
    """Hash a state without its clock."""
    return state_digest


def state_digest(state: TrainingState) -> str:
    snapshot = take(state, {})
    facts = {name: value for name, value in snapshot.facts.items() if name != "seconds"}
    sha = hashlib.sha256(json.dumps(facts).encode())
    for chunk in encode(snapshot.tensors):
        sha.update(chunk)
    return sha.hexdigest()
