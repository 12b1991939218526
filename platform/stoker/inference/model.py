"""A trained model: weights, fields and job, which is all that a prediction needs."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stoker.architectures.network import rebuild_network
from stoker.datasets.feeding.batch import Batch
from stoker.datasets.feeding.batches import ordered_batches
from stoker.datasets.feeding.limits import batch_limit, text_limit
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.pictures.headers import read_headers
from stoker.datasets.records import Files, Records, table
from stoker.datasets.samples import Samples
from stoker.errors import JobError, Problem
from stoker.inference.model_signature import signature
from stoker.inference.pictures import request_pictures
from stoker.job.architecture.custom import Custom
from stoker.job.job import Job
from stoker.job.saved_model import ASSETS, FIELDS, JOB, SIGNATURE, WEIGHTS
from stoker.randomness import PerSampleNoise
from stoker.tasks.abilities import can_encode, can_reload, can_sample, is_wide
from stoker.tasks.choice import TASK_CLASSES, objective_of
from stoker.tasks.objective import Objective
from stoker.tasks.reading.best_spans import best_of_each
from stoker.tasks.task import Answers, Task
from stoker.tasks.writing.settings import Writing

BATCH = 512
ROWS = 4096
"""Records encoded at a time."""
OutputKind = Literal["prediction", "code"]
"""What a model returns for a sample: the task's answer, or the network's code of it."""


def save_model(
    folder: Path, job: Job, fields: Fields, objective: Objective, fingerprint: str, code: Path | None = None
) -> None:
    """Write weights, fields.json, assets/, signature.json, job.json, data.json, and code/ with the user's own modules.

    Args:
        folder: of the model.
        job: with all defaults filled in.
        fields: to encode samples.
        objective: of which the network is saved; a user's own objective is saved whole.
        fingerprint: of the training data.
        code: the user's modules, for a custom architecture.

    """
    folder.mkdir(parents=True, exist_ok=True)
    if code is not None and code.is_dir():
        shutil.copytree(code, folder / "code", dirs_exist_ok=True)
    module = objective if isinstance(job.architecture, Custom) else objective.network
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in module.state_dict().items()
        if name not in objective.carried and name not in _unchanged(module)
    }
    save_file(weights, folder / WEIGHTS)
    if can_reload(module):
        module.save_origin(folder)
    fields.save(folder)
    (folder / SIGNATURE).write_text(
        json.dumps(signature(fields, objective.network, TASK_CLASSES[job.task]), indent=1), encoding="utf-8"
    )
    (folder / "data.json").write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
    (folder / JOB).write_text(job.model_dump_json(by_alias=True, exclude_none=True, indent=1), encoding="utf-8")


def _unchanged(module: nn.Module) -> frozenset[str]:
    """Return the names of weights that are not saved: those of a pretrained model that training left as they are."""
    return module.unchanged_weights() if isinstance(module, Objective) or can_reload(module) else frozenset()


def load_fields(folder: Path) -> Fields:
    """Read the fields of a saved model.

    Raises:
        JobError: it was saved by a version with another format.

    """
    if not (folder / FIELDS).is_file():
        message = f"'{folder}' has no {FIELDS}: an older version saved this model; use it with that version"
        raise JobError([Problem("", message)])
    assets = {path.name: path.read_text(encoding="utf-8") for path in (folder / ASSETS).glob("*")}
    return Fields.from_json(json.loads((folder / FIELDS).read_text(encoding="utf-8")), assets)


@dataclass(frozen=True)
class Model:
    """A network with its fields, on the CPU, ready to predict."""

    job: Job
    fields: Fields
    objective: Objective
    task: Task
    fingerprint: str
    """Of the training data."""
    folder: Path
    """That it was loaded from."""

    @staticmethod
    def load(folder: Path) -> "Model":
        """Rebuild a model from the files of `save_model`."""
        fields = load_fields(folder)
        job = Job.model_validate_json((folder / JOB).read_text(encoding="utf-8"))
        assert job.architecture is not None
        custom = isinstance(job.architecture, Custom)
        if custom and (folder / "code").is_dir():
            sys.path.insert(0, str(folder / "code"))
        task = TASK_CLASSES[job.task](fields)
        objective = objective_of(rebuild_network(job.architecture, fields.signature, folder), task, job.training)
        module = objective if custom else objective.network
        weights = load_file(folder / WEIGHTS)
        module.load_state_dict(weights, strict=not objective.carried and not _unchanged(module))
        fingerprint = json.loads((folder / "data.json").read_text(encoding="utf-8"))["fingerprint"]
        return Model(job, fields, objective.eval(), task, fingerprint, folder)

    @property
    def network(self) -> nn.Module:
        """The network that predicts."""
        return self.objective.network

    def predict(self, samples: pd.DataFrame | np.ndarray, kind: OutputKind = "prediction") -> Answers:
        """Predict a table with the feature columns, or images (N, height, width[, channels]) uint8.

        Raises:
            JobError: columns are missing, or the images have another shape.

        """
        return concatenated(list(self.answers(self.records_of(samples), kind)))

    def answers(self, records: Records, kind: OutputKind = "prediction") -> Iterator[Answers]:
        """Predict records with all feature columns, in chunks.

        Raises:
            JobError: columns are missing, a file cannot be read, the task answers no questions or the network has no
                codes.

        """
        if kind == "code" and (self.fields.layout.divides or not can_encode(self.network)):
            message = "this run's network gives no codes: only a network with a method `encode(inputs)` does"
            raise JobError([Problem("", message)])
        if kind == "prediction" and can_sample(self.network):
            raise JobError([Problem("", f"{self.job.task} has nothing to predict; use stoker generate")])
        if self.task.writes:
            yield from self.written(records, self.task.writing, seed=0)
            return
        self._check(records)
        for start in range(0, len(records), ROWS):
            few = records.rows(np.arange(start, min(start + ROWS, len(records))))
            yield from self._batches(few, start, kind)

    def written(self, records: Records, writing: Writing, seed: int) -> Iterator[Answers]:
        """Yield what follows the text of each record; that of record n has the number n of its seed.

        Raises:
            JobError: the column of texts is missing, or the model writes no texts.

        """
        self._check(records)
        for number, prompt in enumerate(self.task.prompts(records)):
            text = "".join(self.write(prompt, writing, seed, number))
            yield Answers(pd.DataFrame({"prediction": [text]}))

    def _check(self, records: Records) -> None:
        self.fields.check(records)
        if len(records) == 0:
            raise JobError([Problem("", "no samples to predict")])

    def write(self, prompt: str, writing: Writing, seed: int, number: int = 0) -> Iterator[str]:
        """Yield what follows a prompt, piece by piece.

        Args:
            prompt: may be empty.
            writing: how to write.
            seed: the same seed gives the same text.
            number: of the text among several of a seed.

        Raises:
            JobError: the model writes no texts.

        """
        pieces = self.task.write(
            self.network, prompt, writing, PerSampleNoise((seed, "written"), range(number, number + 1))
        )
        while True:
            with torch.inference_mode():  # not while the caller has the piece
                piece = next(pieces, None)
            if piece is None:
                return
            if piece:
                yield piece

    @property
    def _batch_size(self) -> int:
        """Most samples that are computed at once."""
        size = min(BATCH, batch_limit(self.fields.signature))
        if is_wide(self.network):
            size = min(size, text_limit(self.fields.signature, self.network.activations))
        return size

    @torch.inference_mode()
    def _batches(self, records: Records, start: int, kind: OutputKind) -> Iterator[Answers]:
        if self.fields.layout.divides:
            yield self._best(records, self.fields.encode(records, target=False), start)
            return
        for fields, few in of_own_size(self.fields, records):
            samples = fields.encode(few, target=False)
            for batch in ordered_batches(samples, fields, min(self._batch_size, batch_limit(fields.signature))):
                if kind == "code":
                    yield self._codes(batch)
                else:
                    outputs = self._outputs(batch, start).float()
                    yield self.task.answers(outputs, few.rows(batch.index.numpy()))
                start += len(batch)

    def _best(self, records: Records, samples: Samples, start: int) -> Answers:
        """Answer each record by the best of its samples."""
        limit = min(BATCH, batch_limit(self.fields.signature))
        outputs = [self._outputs(batch, start).float() for batch in ordered_batches(samples, self.fields, limit)]
        return self.task.answers(best_of_each(torch.cat(outputs), samples.ids), records)

    def _outputs(self, batch: Batch, start: int) -> torch.Tensor:
        noise = PerSampleNoise((self.job.training.seed, "prediction"), range(start, start + len(batch)))
        return self.task.outputs(self.network, batch.inputs, noise)

    def _codes(self, batch: Batch) -> Answers:
        assert can_encode(self.network)
        codes = self.network.encode(batch.inputs).float().reshape(len(batch), -1)
        return Answers(pd.DataFrame(codes.numpy(), columns=[f"code/{place}" for place in range(codes.shape[1])]))

    def records_of(self, samples: pd.DataFrame | np.ndarray) -> Records:
        """Return raw samples as records with named columns; the cells of pictures may be whatever holds one.

        Raises:
            JobError: an array does not have one column per feature, or a cell holds no picture.

        """
        columns = self.fields.columns
        only_image = len(columns) == 1 and isinstance(self.fields.inputs[0], ImageField)
        if isinstance(samples, pd.DataFrame):
            if only_image and len(samples.columns) == 1:
                samples = samples.set_axis(list(columns), axis=1)
            records = table(samples)
            images = [each.name for each in self.fields.inputs if isinstance(each, ImageField)]
            found = {name: request_pictures(list(samples[name]), name) for name in images if name in samples}
            return replace(records, columns=records.columns | found)
        if only_image and samples.ndim > 1:
            return Records({columns[0]: samples})
        if only_image:
            return Records({columns[0]: request_pictures(list(samples), columns[0])})
        if samples.ndim != 2 or samples.shape[1] != len(columns):
            shape = " x ".join(map(str, samples.shape))
            raise JobError([Problem("", f"an array of {shape}; expected a column for each of {', '.join(columns)}")])
        return table(pd.DataFrame(samples, columns=list(columns)))


def of_own_size(fields: Fields, records: Records) -> Iterator[tuple[Fields, Records]]:
    """Yield records in their order with the fields that encode them.

    A network that learnt from tiles of images in their own size is given files in theirs, those of one size together.
    """
    images = [each for each in fields.inputs if isinstance(each, ImageField)]
    files = records.columns.get(images[0].name) if images and images[0].tile and not images[0].scaled else None
    if not isinstance(files, Files) or len(fields.inputs) != 1:
        yield fields, records
        return
    (image,) = images
    known = {header.file: header.size for header in read_headers(files)}
    sizes = [known.get(file, (image.height, image.width)) for file in files.paths]
    begin = 0
    for (height, width), run in groupby(sizes):
        end = begin + len(list(run))
        sized = replace(image, height=height, width=width)
        yield replace(fields, inputs=(sized,)), records.rows(np.arange(begin, end))
        begin = end


def concatenated(answers: list[Answers]) -> Answers:
    """Concatenate answers."""
    images = [image for each in answers if each.images is not None for image in each.images]
    everything = pd.concat([each.table for each in answers], ignore_index=True)
    one_size = len({image.shape for image in images}) == 1
    return Answers(everything, np.stack(images) if one_size else images or None)
