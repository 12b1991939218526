"""Predictions for whatever `dataset.source` takes, without the label."""

from glob import glob, has_magic
from pathlib import Path

import pandas as pd

from stoker.datasets.encoders import ImageEncoder
from stoker.datasets.formats.image_folder import decode, picture_files
from stoker.datasets.loading import read_source
from stoker.datasets.samples import Pictures
from stoker.errors import JobError, NotFound, Problem
from stoker.inference.model import Model
from stoker.spec.dataset import IMAGE_SUFFIXES, Columns, Dataset, Format


def predict(model: Model, source: str, format_name: Format | None = None) -> pd.DataFrame:
    """Predict a file, a folder or glob of pictures, or a built-in dataset.

    Returns:
        The task's predictions, with a first column `input` that names the picture, or all columns of the table behind them.

    Raises:
        NotFound: nothing is there.
        JobError: it is not what the model takes.

    """
    encoder = model.encoders.input
    if isinstance(encoder, ImageEncoder):
        files = _pictures(source)
        if files:
            pixels = decode(files, (encoder.height, encoder.width), channels=encoder.channels)
            table = model.predict(pixels)
            table.insert(0, "input", [str(file) for file in files])
            return table
    dataset = model.job.dataset.model_copy(update={"source": source, "format": format_name, "columns": Columns()})
    raw, _ = read_source(Dataset.model_validate(dataset.model_dump()))
    if isinstance(raw, Pictures):
        table = model.predict(raw.pixels)
        table.insert(0, "input", list(raw.names))
        return table
    predictions = model.predict(raw.frame)
    return pd.concat([predictions, raw.frame.reset_index(drop=True)], axis=1)


def _pictures(source: str) -> list[Path]:
    """List the pictures that a path or glob names; none where it is something else."""
    if has_magic(source) and not Path(source).exists():
        files = sorted(Path(name) for name in glob(source, recursive=True))
        if not files:
            raise NotFound(f"no file matches '{source}'")
        return [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return [path]
    if path.is_dir():
        files = picture_files(path)
        if not files and not list(path.glob("*idx3*")):
            raise JobError([Problem("", f"no pictures in '{source}'")])
        return files
    return []
