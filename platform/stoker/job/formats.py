"""The formats of data: what each can hold, and by which names its files and columns go."""

from typing import Literal

from stoker.job.task import Kind, TaskRow

Format = Literal[
    "csv",
    "jsonl",
    "parquet",
    "conll",
    "squad",
    "text",
    "parallel",
    "idx",
    "npz",
    "image-folder",
    "image-mask",
    "image-text",
    "coco-captions",
    "voc",
    "coco",
    "coco-masks",
    "yolo",
    "webdataset",
]
TABLE_KINDS: tuple[Kind, ...] = (
    "number",
    "time",
    "category",
    "normality",
    "text",
    "image",
    "mask",
    "tags",
    "words",
    "word-tags",
    "answer",
    "dialogue",
)
FORMATS: dict[str, tuple[Kind, ...]] = {
    "csv": TABLE_KINDS,
    "jsonl": TABLE_KINDS,
    "parquet": TABLE_KINDS,
    "conll": ("words", "word-tags"),
    "squad": ("text", "answer"),
    "text": ("text",),
    "parallel": ("text",),
    "idx": ("image", "category", "normality"),
    "npz": ("image", "mask", "category", "normality", "number"),
    "image-folder": ("image", "category", "normality"),
    "image-mask": ("image", "mask"),
    "image-text": ("image", "text"),
    "coco-captions": ("image", "text"),
    "voc": ("image", "boxes"),
    "coco": ("image", "boxes"),
    "coco-masks": ("image", "mask"),
    "yolo": ("image", "boxes"),
    "webdataset": ("image", "mask", "text", "category", "number"),
}
"""Kinds of field that the columns of each format can hold; a table holds images as paths."""
ONE_COLUMN = frozenset({"text"})
"""Formats without a place for a target."""
TABLE_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".tsv": "csv",
    ".tsv.gz": "csv",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".conll": "conll",
    ".conllu": "conll",
    ".iob": "conll",
    ".iob2": "conll",
}
CONTENT_SUFFIXES: dict[str, tuple[str, ...]] = {"squad": (".json", ".json.gz")}
"""Suffixes of table formats whose content tells them from others of the same suffix."""
SQUAD_COLUMNS = ("question", "context", "answer")
"""Names of the columns of a squad file."""
CAPTION_COLUMNS = ("image", "caption")
"""Names of the columns of images with captions."""
CONLL_COLUMNS = ("words", "tags")
"""Names of the first and the last column of a conll file whose columns the job does not name."""
VOC_IMAGES, VOC_ANNOTATIONS = "JPEGImages", "Annotations"
"""Folders of a voc dataset."""
YOLO_IMAGES, YOLO_LABELS = "images", "labels"
"""Folders of a yolo dataset, or of each of its parts."""
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})


def fits(format_name: str, row: TaskRow) -> bool:
    """Check whether a format can hold what a task learns from."""
    kinds = FORMATS[format_name]
    if format_name in ONE_COLUMN and not row.target_optional:
        return False
    return bool(set(kinds) & set(row.inputs)) and (row.target in kinds or row.target_optional)
