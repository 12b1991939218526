"""A trained model: weights, encoders and job, together all that a prediction needs."""

import json
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
from stoker.spec.job import Job
from stoker.tasks.choice import TASK_CLASSES
from stoker.tasks.task import Task

BATCH = 512


def save_model(folder: Path, job: Job, encoders: Encoders, network: nn.Module, fingerprint: str) -> None:
    """Write weights.safetensors, encoders.json, job.json and data.json; nothing in them is code."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    (folder / "encoders.json").write_text(json.dumps(encoders.to_json(), indent=1), encoding="utf-8")
    (folder / "data.json").write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
    (folder / "job.json").write_text(job.model_dump_json(by_alias=True, exclude_none=True, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Model:
    """A network with its encoders, on the CPU, ready to predict."""

    job: Job
    encoders: Encoders
    network: nn.Module
    task: Task
    fingerprint: str
    """Of the data it was trained with."""

    @staticmethod
    def load(folder: Path) -> "Model":
        """Rebuild a model from the files of `save_model`."""
        job = Job.model_validate_json((folder / "job.json").read_text(encoding="utf-8"))
        encoders = Encoders.from_json(json.loads((folder / "encoders.json").read_text(encoding="utf-8")))
        assert job.architecture is not None
        network = build_network(job.architecture, encoders.signature)
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        fingerprint = json.loads((folder / "data.json").read_text(encoding="utf-8"))["fingerprint"]
        return Model(job, encoders, network.eval(), TASK_CLASSES[job.task](), fingerprint)

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
