"""Writes the results of a finished run to its folder: metrics and pictures of the best weights, and the model."""

import csv
import io
import json
import shutil
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.report.text_lengths import draw_lengths, text_lengths
from stoker.execution.pages import draw_page
from stoker.execution.pictures import draw
from stoker.inference.model import save_model
from stoker.inference.output import write_film
from stoker.job.saved_model import EXAMPLE
from stoker.job.task import TASKS
from stoker.tasks.abilities import can_sample
from stoker.tasks.sheet import Page, Picture, Sheet
from stoker.tasks.task import Review
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import Assembly
from stoker.training.evaluation import evaluate_in_detail, show
from stoker.training.preparation import Prepared

LENGTHS = "text-lengths.png"
EPOCH_MS = 700
"""How long a film of the epochs shows each."""
BATCH, BATCH_SHOWN = "first-batch.png", 32
RULE = f"\n{'-' * 80}\n"
"""Between the texts of a file."""


def evaluate_all(folder: RunFolder | None, assembly: Assembly) -> dict[str, float]:
    """Evaluate the weights on every part, on all workers; the first one draws the held-out part.

    Args:
        folder: of the run; None draws nothing.
        assembly: with the weights.

    """
    precision = assembly.job.training.precision
    shown = "test" if "test" in assembly.parts else assembly.prepared.evaluated_part
    metrics: dict[str, float] = {}
    for part in assembly.parts:
        review = assembly.task.review() if part == shown and folder is not None else None
        found = evaluate_in_detail(assembly, part, precision, review)
        if found.review is not None and folder is not None:
            _draw(folder.artifacts, assembly, found.review, part)
        metrics |= {f"{quantity}/{part}": value for quantity, value in found.metrics.items()}
    return metrics


def draw_data(folder: RunFolder, data: LoadedDataset) -> None:
    """Draw how long the texts of the data are, if there are any: here, because matplotlib takes seconds to import."""
    try:
        if lengths := text_lengths(data.fields, data.parts):
            folder.artifacts.mkdir(exist_ok=True)
            draw_lengths(lengths).savefig(folder.artifacts / LENGTHS, dpi=110)
    except Exception:  # the result does not depend on its figures
        traceback.print_exc()


def draw_batch(folder: RunFolder, assembly: Assembly) -> None:
    """Draw the first pictures that the network learns from, changed as they are while training."""
    try:
        fields = assembly.data.fields
        if len(fields.signature.images) != 1:
            return
        name = fields.image.name
        step = next(iter(assembly.batches(ahead=False).epoch(0, 0)))
        images = step.micro_batches[0][0].inputs[name][:BATCH_SHOWN]
        pixels = fields.image.pixels(images.float()).cpu().numpy()
        folder.artifacts.mkdir(exist_ok=True)
        sheet = Sheet("batch", tuple(Picture((each,)) for each in pixels))
        (folder.artifacts / BATCH).write_bytes(draw(sheet))
    except Exception:  # training does not depend on its figures
        traceback.print_exc()


def draw_result(folder: RunFolder, assembly: Assembly) -> None:
    """Draw the task's pictures of whole weights, if it has any; texts are written as a file, too."""
    if not (found := drawn_sheet(assembly)):
        return
    name, png, page = found
    folder.artifacts.mkdir(exist_ok=True)
    (folder.artifacts / f"{name}.png").write_bytes(png)
    if TASKS[assembly.job.task].generates and not page:
        _film(folder, name, png)
    if page:
        (folder.artifacts / f"{name}.txt").write_text(page, encoding="utf-8")


def _film(folder: RunFolder, name: str, last: bytes) -> None:
    """Write the pictures of the epochs, which are made of the same noise, one after the other; at least two."""
    files = [path.read_bytes() for path in sorted(folder.pictures.glob(f"{name}-*.png"))]
    files = [*files, last] if files and files[-1] != last else files
    frames = [np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in files]
    if len(frames) > 1 and len({frame.shape for frame in frames}) == 1:
        write_film(folder.artifacts / f"{name}.gif", frames, EPOCH_MS)


def write_model(folder: RunFolder, assembly: Assembly) -> None:
    """Save the model, replacing one of an earlier attempt."""
    prepared = assembly.prepared
    draft = folder.path / ".model.new"
    shutil.rmtree(draft, ignore_errors=True)
    fingerprint = prepared.data.fingerprint
    save_model(draft, prepared.job, prepared.data.fields, assembly.objective, fingerprint, folder.code)
    (draft / EXAMPLE).write_text(_example(prepared, assembly.objective.network), encoding="utf-8")
    if folder.model.exists():
        shutil.rmtree(folder.model)
    draft.rename(folder.model)


def drawn_sheet(assembly: Assembly) -> tuple[str, bytes, str] | None:
    """Draw the task's pictures of the weights; return their name, a PNG file and the texts in it; None without any."""
    try:
        sheet = show(assembly, assembly.job.training.precision)
        if isinstance(sheet, Page):
            return sheet.name, draw_page(sheet), RULE.join(sheet.texts)
        return (sheet.name, draw(sheet), "") if sheet else None
    except Exception:  # training and its result do not depend on pictures
        traceback.print_exc()
        return None


def _draw(artifacts: Path, assembly: Assembly, review: Review, part: str) -> None:
    """Write figures and the worst samples; a figure that cannot be drawn must not fail the run."""
    artifacts.mkdir(exist_ok=True)
    try:
        for name, figure in review.figures().items():
            figure.savefig(artifacts / f"{name}-{part}.png", dpi=110)
        for name, table in review.tables().items():
            _write_rows(artifacts / f"{name}-{part}.csv", table)
        rows = [{**row, "sample": assembly.data.name_of(row["id"])} for row in review.rows()]
        if not rows:
            return
        _write_rows(artifacts / f"worst-{part}.csv", rows)
        _draw_worst(artifacts / f"worst-{part}.png", assembly, review, part, rows)
    except Exception:  # the result does not depend on its figures
        traceback.print_exc()


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _draw_worst(path: Path, assembly: Assembly, review: Review, part: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the images of the worst samples, each with the task's pictures of it."""
    names = list(assembly.data.fields.signature.images)
    if not names:
        return
    samples = assembly.parts[part]
    places = {int(number): place for place, number in enumerate(samples.ids.tolist())}
    index = torch.tensor([places[row["id"]] for row in rows], device=assembly.device)
    images = samples.inputs[names[0]].take(index).cpu().numpy()
    beside = [review.drawn(shown) for shown in review.shown()]
    pictures = [Picture((image, *more), *_caption(row)) for image, more, row in zip(images, beside, rows, strict=True)]
    path.write_bytes(draw(Sheet("worst", tuple(pictures))))


def _caption(row: Mapping[str, Any]) -> tuple[str, bool]:
    """Return target, prediction and sample as a caption, and whether the prediction is wrong."""
    wrong = row["target"] != row["prediction"]
    text = f"{row['target']}, predicted {row['prediction']}" if wrong else f"{row['target']} (barely)"
    return f"{text}\n{row['sample']}", wrong


def _example(prepared: Prepared, network: nn.Module) -> str:
    """Return what the model can be asked: a few raw samples, or classes and seeds of what it shall generate."""
    if can_sample(network):
        classes = prepared.data.fields.signature.classes[:3]
        columns = ["class", "seed"] if classes else ["seed"]
        return json.dumps({"columns": columns, "data": [[name, seed] for seed, name in enumerate(classes)] or [[0]]})
    example = prepared.data.example
    if hasattr(example, "to_json"):
        return str(example.to_json(orient="split", index=False))
    return json.dumps(example.tolist())
