"""What a finished run leaves in its folder: results of the best weights, pictures of them, and the model."""

import csv
import json
import shutil
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from stoker.execution.pictures import COLUMNS, draw_grid, draw_images
from stoker.inference.model import save_model
from stoker.randomness import Noise
from stoker.tasks.abilities import CanSample
from stoker.tasks.task import Review
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import Assembly, Prepared
from stoker.training.evaluation import evaluate_in_detail

DRAWN_CLASSES = 12


def evaluate_all(folder: RunFolder | None, assembly: Assembly) -> dict[str, float]:
    """Evaluate the weights on every part, all workers together; the first one draws the held-out part.

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
    if folder is not None and assembly.workers.rank == 0:
        draw_generated(folder.artifacts, assembly, "generated")
    return metrics


def leave_model(folder: RunFolder, assembly: Assembly) -> None:
    """Save the model, in place of what an earlier attempt of the end has left."""
    prepared = assembly.prepared
    draft = folder.path / ".model.new"
    shutil.rmtree(draft, ignore_errors=True)
    fingerprint = prepared.data.fingerprint
    save_model(draft, prepared.job, prepared.data.fields, assembly.objective, fingerprint, folder.code)
    (draft / "example.json").write_text(_example(prepared), encoding="utf-8")
    if folder.model.exists():
        shutil.rmtree(folder.model)
    draft.rename(folder.model)


def draw_generated(artifacts: Path, assembly: Assembly, name: str) -> None:
    """Draw samples of a network that makes some, a row a class; always from the same noise, so that they compare."""
    network = assembly.objective.network
    if not isinstance(network, CanSample):
        return
    classes = assembly.data.fields.signature.classes[:DRAWN_CLASSES]
    rows = max(len(classes), 1)
    count = rows * COLUMNS
    places = torch.arange(rows, device=assembly.device).repeat_interleave(COLUMNS) if classes else None
    noise = Noise((assembly.job.training.seed, "drawn"), count, 0, count, assembly.device)
    artifacts.mkdir(exist_ok=True)
    try:
        with torch.inference_mode():
            made = assembly.data.fields.image.pixels(network.sample(places, noise).float()).cpu().numpy()
        draw_grid(artifacts / f"{name}.png", made, classes)
    except Exception:  # the result stands without its images
        traceback.print_exc()


def _draw(artifacts: Path, assembly: Assembly, review: Review, part: str) -> None:
    """Leave figures and the worst samples for the record; a figure that cannot be drawn must not cost the model."""
    artifacts.mkdir(exist_ok=True)
    try:
        for name, figure in review.figures().items():
            figure.savefig(artifacts / f"{name}-{part}.png", dpi=110)
        rows = [{**row, "sample": assembly.data.name_of(row["id"])} for row in review.rows()]
        if not rows:
            return
        with (artifacts / f"worst-{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        _draw_worst(artifacts / f"worst-{part}.png", assembly, review, part, rows)
    except Exception:  # the result stands without its figures
        traceback.print_exc()


def _draw_worst(path: Path, assembly: Assembly, review: Review, part: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the images of the worst samples, each with what the task has to show beside it."""
    names = list(assembly.data.fields.signature.images)
    if not names:
        return
    samples = assembly.parts[part]
    places = {int(number): place for place, number in enumerate(samples.ids.tolist())}
    index = torch.tensor([places[row["id"]] for row in rows], device=assembly.device)
    images = samples.inputs[names[0]].take(index).cpu().numpy()
    beside = [review.drawn(shown) for shown in review.shown()]
    draw_images(path, [[image, *more] for image, more in zip(images, beside, strict=True)], rows)


def _example(prepared: Prepared) -> str:
    example = prepared.data.example
    if hasattr(example, "to_json"):
        return str(example.to_json(orient="split", index=False))
    return json.dumps(example.tolist())
