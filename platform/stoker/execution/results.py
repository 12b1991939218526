"""What a finished run leaves in its folder: results of the best weights, pictures of them, and the model."""

import csv
import json
import shutil
import traceback
from pathlib import Path
from typing import Any

from stoker.inference.model import save_model
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import Assembly, Prepared
from stoker.training.evaluation import evaluate, evaluate_in_detail

WORST_SAMPLES = 16


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
        if part == shown and folder is not None:
            values, outcome = evaluate_in_detail(assembly, part, precision)
            if outcome is not None:
                _draw(folder.artifacts, assembly, outcome, part)
        else:
            values = evaluate(assembly, part, precision)
        metrics |= {f"{quantity}/{part}": value for quantity, value in values.items()}
    return metrics


def leave_model(folder: RunFolder, assembly: Assembly) -> None:
    """Save the model, in place of what an earlier attempt of the end has left."""
    prepared = assembly.prepared
    draft = folder.path / ".model.new"
    shutil.rmtree(draft, ignore_errors=True)
    fingerprint = prepared.data.fingerprint
    save_model(draft, prepared.job, prepared.data.encoders, assembly.objective, fingerprint, folder.code)
    (draft / "example.json").write_text(_example(prepared), encoding="utf-8")
    if folder.model.exists():
        shutil.rmtree(folder.model)
    draft.rename(folder.model)


def _draw(artifacts: Path, assembly: Assembly, outcome: Any, part: str) -> None:
    """Leave figures and the worst samples for the record; a picture that cannot be drawn must not cost the model."""
    output = assembly.data.encoders.output
    artifacts.mkdir(exist_ok=True)
    try:
        for name, figure in assembly.task.figures(outcome, output).items():
            figure.savefig(artifacts / f"{name}-{part}.png", dpi=110)
        worst = assembly.task.worst(outcome, output, WORST_SAMPLES)
        names = assembly.data.names
        rows = [{**row, "sample": names[row["id"]] if names else str(row["id"])} for row in worst]
        with (artifacts / f"worst-{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        if "image" in assembly.parts[part].inputs:
            from stoker.execution.pictures import draw_pictures

            samples = assembly.parts[part]
            places = {int(number): place for place, number in enumerate(samples.ids.tolist())}
            pixels = [samples.inputs["image"][places[row["id"]]].cpu().numpy() for row in rows]
            draw_pictures(artifacts / f"worst-{part}.png", pixels, rows)
    except Exception:  # the result stands without its pictures
        traceback.print_exc()


def _example(prepared: Prepared) -> str:
    example = prepared.data.example
    if hasattr(example, "to_json"):
        return str(example.to_json(orient="split", index=False))
    return json.dumps(example.tolist())
