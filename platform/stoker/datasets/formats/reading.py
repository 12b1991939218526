"""Readers by the name of the format."""

from collections.abc import Callable
from pathlib import Path

from stoker.datasets.formats import (
    coco,
    coco_captions,
    coco_masks,
    idx,
    image_folder,
    image_mask,
    image_text,
    npz,
    parallel,
    text,
    voc,
    webdataset,
    yolo,
)
from stoker.datasets.formats.broken_files import read_as
from stoker.datasets.formats.tables import table_reader
from stoker.datasets.records import Records
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset

READERS: dict[str, Callable[[Path, Dataset], Records]] = {
    "csv": table_reader("csv"),
    "jsonl": table_reader("jsonl"),
    "parquet": table_reader("parquet"),
    "conll": table_reader("conll"),
    "squad": table_reader("squad"),
    "text": text.read,
    "parallel": parallel.read,
    "idx": idx.read,
    "npz": npz.read,
    "image-folder": image_folder.read,
    "image-mask": image_mask.read,
    "image-text": image_text.read,
    "coco-captions": coco_captions.read,
    "voc": voc.read,
    "coco": coco.read,
    "coco-masks": coco_masks.read,
    "yolo": yolo.read,
    "webdataset": webdataset.read,
}


def read_path(dataset: Dataset, path: Path, format_name: str) -> Records:
    """Read the file or folder with the content of `dataset.source`.

    Raises:
        JobError: it cannot be read; the message names the file.

    """
    if not path.exists():
        raise JobError([Problem("dataset.source", f"no file or folder '{dataset.source}'")])
    return read_as(dataset.source, lambda: READERS[format_name](path, dataset))
