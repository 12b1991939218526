"""The datasets that come with the installation."""

from dataclasses import dataclass

from stoker.job.task import Kind


@dataclass(frozen=True)
class Builtin:
    """A dataset that comes with the installation."""

    tasks: tuple[str, ...]
    label: str
    summary: str
    kinds: tuple[Kind, ...] = ("number", "category")
    """Of its inputs."""


CLASSIFIED = ("tabular-classification", "table-generation")
BUILTIN: dict[str, Builtin] = {
    "xor": Builtin(CLASSIFIED, "y", "the four corners that no plane separates"),
    "iris": Builtin(CLASSIFIED, "species", "150 flowers, 4 measures, 3 species"),
    "wine": Builtin(CLASSIFIED, "cultivar", "178 wines, 13 measures, 3 cultivars"),
    "breast-cancer": Builtin(CLASSIFIED, "diagnosis", "569 biopsies, 30 measures, 2 classes"),
    "diabetes": Builtin(("tabular-regression",), "progression", "442 patients, 10 measures, a number"),
    "sensors": Builtin(
        ("tabular-classification", "anomaly-detection", "reconstruction"),
        "state",
        "2,000 readings of 8 sensors in 3 modes, 10 % of them faulty",
    ),
    "digits": Builtin(
        ("image-classification", "image-generation", "anomaly-detection", "reconstruction"),
        "digit",
        "1,797 handwritten digits of 8x8 pixels",
        kinds=("image",),
    ),
    "digit-pairs": Builtin(
        ("multi-label-classification",), "digits", "898 images of two handwritten digits, both tags", kinds=("image",)
    ),
    "shapes": Builtin(
        ("multi-label-classification",),
        "shapes",
        "2,000 pictures of coloured shapes, the kinds of shapes in each as tags",
        kinds=("image",),
    ),
    "shape-boxes": Builtin(
        ("object-detection",),
        "boxes",
        "400 pictures of coloured shapes with a box around each, 5 classes",
        kinds=("image",),
    ),
    "python-library": Builtin(
        ("text-generation",), "", "the source code of Python's own library, a file each", kinds=("text",)
    ),
    "instructions": Builtin(
        ("instruction-tuning",), "", "2,000 dialogues with small tasks and their answers", kinds=("dialogue",)
    ),
    "who-has-what": Builtin(
        ("question-answering",), "answer", "1,200 questions: who has what, with texts that tell it", kinds=("text",)
    ),
    "shapes-captions": Builtin(
        ("image-captioning",),
        "caption",
        "6,000 pictures of two coloured shapes, and a sentence on how they stand",
        kinds=("image",),
    ),
    "keyword-documents": Builtin(
        ("summarization",), "summary", "600 short texts that begin with their keywords", kinds=("text",)
    ),
}
