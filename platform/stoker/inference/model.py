"""A trained model: weights, encoders and job, together all that a prediction needs."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stoker.architectures.network import build_network
from stoker.datasets.batches import in_order
from stoker.datasets.encoders import Encoders, TableEncoder
from stoker.datasets.samples import Samples
from stoker.errors import JobError, Problem
from stoker.job.architecture.custom import Custom
from stoker.job.job import Job
from stoker.job.saved_model import WEIGHTS
from stoker.tasks.choice import TASK_CLASSES
from stoker.tasks.objective import Objective
from stoker.tasks.task import Task

BATCH = 512


def save_model(
    folder: Path, job: Job, encoders: Encoders, objective: Objective, fingerprint: str, code: Path | None = None
) -> None:
    """Write weights.safetensors, encoders.json, job.json and data.json; code is only what the user brought.

    Args:
        folder: where to write.
        job: the job, completed.
        encoders: how samples become numbers.
        objective: of which the network is saved; all of it where it is the user's own.
        fingerprint: of the data it was trained with.
        code: the user's modules, for a custom architecture.

    """
    folder.mkdir(parents=True, exist_ok=True)
    if code is not None and code.is_dir():
        shutil.copytree(code, folder / "code", dirs_exist_ok=True)
    module = objective if isinstance(job.architecture, Custom) else objective.network
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in module.state_dict().items()
        if name not in objective.carried
    }
    save_file(weights, folder / WEIGHTS)
    (folder / "encoders.json").write_text(json.dumps(encoders.to_json(), indent=1), encoding="utf-8")
    (folder / "data.json").write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
    (folder / "job.json").write_text(job.model_dump_json(by_alias=True, exclude_none=True, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Model:
    """A network with its encoders, on the CPU, ready to predict."""

    job: Job
    encoders: Encoders
    objective: Objective
    task: Task
    fingerprint: str
    """Of the data it was trained with."""

    @staticmethod
    def load(folder: Path) -> "Model":
        """Rebuild a model from the files of `save_model`."""
        job = Job.model_validate_json((folder / "job.json").read_text(encoding="utf-8"))
        encoders = Encoders.from_json(json.loads((folder / "encoders.json").read_text(encoding="utf-8")))
        assert job.architecture is not None
        custom = isinstance(job.architecture, Custom)
        if custom and (folder / "code").is_dir():
            sys.path.insert(0, str(folder / "code"))
        network = build_network(job.architecture, encoders.signature)
        task = TASK_CLASSES[job.task]()
        objective = network if isinstance(network, Objective) else task.objective(network, encoders.output)
        weights = load_file(folder / WEIGHTS)
        (objective if custom else objective.network).load_state_dict(weights, strict=not objective.carried)
        fingerprint = json.loads((folder / "data.json").read_text(encoding="utf-8"))["fingerprint"]
        return Model(job, encoders, objective.eval(), task, fingerprint)

    @property
    def network(self) -> nn.Module:
        """What predicts."""
        return self.objective.network

    def predict(self, samples: pd.DataFrame | np.ndarray) -> pd.DataFrame:
        """Predict a table with the feature columns, or pictures (N, height, width[, channels]) uint8.

        Raises:
            JobError: columns are missing, or the pictures have another shape.

        """
        encoded = self.encode(samples)
        return self.task.predictions(self.outputs(encoded), self.encoders.output)

    def encode(self, samples: pd.DataFrame | np.ndarray) -> Samples:
        """Turn raw samples into the network's input; targets are empty."""
        encoder = self.encoders.input
        if isinstance(encoder, TableEncoder):
            inputs = encoder.encode(_table(samples, encoder))
        else:
            inputs = {"image": torch.from_numpy(encoder.fitting(np.array(samples)))}
        count = len(samples)
        return Samples(inputs, torch.zeros(count), None, torch.arange(count))

    @torch.inference_mode()
    def outputs(self, samples: Samples) -> Tensor:
        """Return the network's float32 outputs, (N, ...)."""
        if len(samples) == 0:
            raise JobError([Problem("", "no samples to predict")])
        batches = in_order(samples, self.encoders.input, BATCH)
        return torch.cat([self.network(batch.inputs).float() for batch in batches])


def _table(samples: pd.DataFrame | np.ndarray, encoder: TableEncoder) -> pd.DataFrame:
    if isinstance(samples, np.ndarray):
        if samples.ndim != 2 or samples.shape[1] != len(encoder.columns):
            shape, wanted = " x ".join(map(str, samples.shape)), ", ".join(encoder.columns)
            raise JobError([Problem("", f"an array of {shape}; expected a column for each of {wanted}")])
        samples = pd.DataFrame(samples, columns=list(encoder.columns))
    encoder.check(samples)
    return samples
