"""The table of tasks: for each the kinds of field it learns from, the families that fit, and its metrics."""

from dataclasses import dataclass
from typing import Literal

TaskName = Literal[
    "tabular-classification",
    "tabular-regression",
    "table-generation",
    "image-classification",
    "segmentation",
    "object-detection",
    "image-generation",
    "anomaly-detection",
    "reconstruction",
    "image-captioning",
    "text-classification",
    "multi-label-classification",
    "text-generation",
    "token-classification",
    "translation",
    "summarization",
    "fill-mask",
    "question-answering",
    "instruction-tuning",
]
EngineName = Literal["torch"]
Direction = Literal["max", "min"]
Kind = Literal[
    "number",
    "time",
    "category",
    "normality",
    "text",
    "image",
    "mask",
    "boxes",
    "tags",
    "continuation",
    "blanks",
    "words",
    "word-pieces",
    "word-tags",
    "answer",
    "dialogue",
    "replies",
]
"""The kinds of field: what a column of a sample holds."""

TEXTS: frozenset[Kind] = frozenset({"text", "words", "dialogue"})
"""The kinds of field that consist of tokens."""
TOKENIZED: frozenset[Kind] = frozenset({"text", "dialogue"})
"""Those of them that a tokenizer cuts."""

CLASSIFICATION: dict[str, Direction] = {"loss": "min", "accuracy": "max", "f1": "max", "auroc": "max"}
REGRESSION: dict[str, Direction] = {"loss": "min", "rmse": "min", "mae": "min", "r2": "max"}
SEGMENTATION: dict[str, Direction] = {"loss": "min", "dice": "max", "iou": "max", "accuracy": "max"}
DETECTION: dict[str, Direction] = {"loss": "min", "map": "max", "map50": "max", "map75": "max"}
ANOMALIES: dict[str, Direction] = {"loss": "min", "auroc": "max", "average_precision": "max", "f1": "max"}
TAGS: dict[str, Direction] = {
    "loss": "min",
    "f1_micro": "max",
    "f1_macro": "max",
    "exact_match": "max",
    "average_precision": "max",
}
REDRAWING: dict[str, Direction] = {"loss": "min", "mse": "min", "psnr": "max"}
BY_FEATURES: dict[str, Direction] = {
    "fid": "min",
    "kid": "min",
    "precision": "max",
    "recall": "max",
    "agreement": "max",
    "diversity": "max",
    "memorised": "min",
}
GENERATION: dict[str, Direction] = {"loss": "min", "frechet": "min", "active_units": "max", **BY_FEATURES}
ROWS: dict[str, Direction] = {"loss": "min", "marginals": "min", "correlations": "min"}
TRANSLATION: dict[str, Direction] = {"loss": "min", "bleu": "max", "exact_match": "max"}
CAPTION: dict[str, Direction] = {"loss": "min", "perplexity": "min", "bleu": "max", "exact_match": "max"}
SUMMARY: dict[str, Direction] = {
    "loss": "min",
    "rouge1": "max",
    "rouge2": "max",
    "rougeL": "max",
    "exact_match": "max",
}
WRITING: dict[str, Direction] = {"loss": "min", "perplexity": "min", "bits_per_byte": "min"}
FILLING: dict[str, Direction] = {"loss": "min", "perplexity": "min", "accuracy": "max"}
REPLIES: dict[str, Direction] = {"loss": "min", "perplexity": "min", "exact_match": "max"}
ANSWERS: dict[str, Direction] = {"loss": "min", "exact_match": "max", "f1": "max"}
TAGGING: dict[str, Direction] = {"loss": "min", "accuracy": "max", "precision": "max", "recall": "max", "f1": "max"}
CLASS_LOSS = ("class_weights", "label_smoothing")
"""Keys of `training` that a cross-entropy of classes has; that of tags has the first one."""
MIXED = ("mixup", "cutmix")
"""Keys of `training` that mix samples, which are images alone, with their labels."""
TABULAR: tuple[Kind, ...] = ("number", "time", "category", "text", "image")
IMAGES_OR_ROWS: tuple[Kind, ...] = ("image", "number", "category")
"""A sample is an image, or else a row of numbers and categories."""
TABULAR_FAMILIES = ("mlp", "perceptron", "custom")


@dataclass(frozen=True)
class TaskRow:
    """What a task fixes."""

    inputs: tuple[Kind, ...]
    """Kinds of field that a sample may be made of."""
    target: Kind
    """Kind of the field that is learnt; continuation, blanks and replies are of the text itself."""
    families: tuple[str, ...]
    """Network families that fit; the first is the default."""
    metrics: dict[str, Direction]
    best: str
    """The metric that picks the best weights unless the job names another; empty: the last weights are the model."""
    summary: str
    target_optional: bool = False
    """Whether data without the target will do."""
    expensive: tuple[str, ...] = ()
    """The metrics that take long: `training.evaluate` says how often they are computed."""
    by_features: tuple[str, ...] = ()
    """Those of them that need the network of `training.evaluate.features`."""
    by_latent: tuple[str, ...] = ()
    """Those of them that need a network with latent numbers."""
    shows: bool = False
    """Whether there are pictures of what the network makes of some samples, during training, if it can do its part."""
    loss_settings: tuple[str, ...] = ()
    """The keys of `training` that change the loss of this task alone."""
    augments: bool = False
    """Whether pictures are changed at random while training, as their kind bears it, unless the job says how."""
    generates: bool = False
    """Whether its models make new samples, in place of answers about given ones."""
    tokens: Literal["words", "characters", "bpe"] = "words"
    """What texts are cut into unless the job says otherwise."""
    engine: EngineName = "torch"
    """The engine that trains it in the workers."""

    @property
    def alone(self) -> bool:
        """Return whether an image is a whole sample: other columns beside it are left out."""
        return self.inputs == IMAGES_OR_ROWS

    texts: int = 1
    """How many texts a sample has: a question, and the text that answers it, are two."""

    @property
    def of_texts(self) -> bool:
        """Return whether texts are read, or written."""
        return not TEXTS.isdisjoint((*self.inputs, self.target))

    def measures_always(self, metric: str) -> bool:
        """Return whether a metric such as loss/val is computed after each epoch."""
        return metric.partition("/")[0] not in self.expensive


TASKS: dict[TaskName, TaskRow] = {
    "tabular-classification": TaskRow(
        TABULAR,
        "category",
        TABULAR_FAMILIES,
        CLASSIFICATION,
        "accuracy",
        "a class for each row of a table",
        loss_settings=CLASS_LOSS,
    ),
    "tabular-regression": TaskRow(
        TABULAR, "number", TABULAR_FAMILIES, REGRESSION, "rmse", "a number for each row of a table"
    ),
    "table-generation": TaskRow(
        ("number", "category"),
        "category",
        ("tabular-diffusion", "custom"),
        ROWS,
        "loss",
        "new rows like those of a table",
        target_optional=True,
        expensive=("marginals", "correlations"),
        generates=True,
    ),
    "image-classification": TaskRow(
        ("image",),
        "category",
        ("cnn", "vit", "backbone", "mlp", "perceptron", "custom"),
        CLASSIFICATION,
        "accuracy",
        "a class for each image",
        shows=True,
        loss_settings=(*CLASS_LOSS, *MIXED),
        augments=True,
    ),
    "segmentation": TaskRow(
        ("image",),
        "mask",
        ("unet", "custom"),
        SEGMENTATION,
        "dice",
        "a class for each pixel of an image",
        shows=True,
        loss_settings=CLASS_LOSS,
        augments=True,
    ),
    "object-detection": TaskRow(
        ("image",),
        "boxes",
        ("detector", "torchvision-detector", "custom"),
        DETECTION,
        "map",
        "the objects of an image, each with a class and a box around it",
        shows=True,
        augments=True,
    ),
    "image-generation": TaskRow(
        ("image",),
        "category",
        ("gan", "vae", "diffusion", "custom"),
        GENERATION,
        "",
        "new images like those of the data",
        target_optional=True,
        expensive=("frechet", "active_units", *BY_FEATURES),
        by_features=tuple(BY_FEATURES),
        by_latent=("active_units",),
        shows=True,
        generates=True,
    ),
    "anomaly-detection": TaskRow(
        IMAGES_OR_ROWS,
        "normality",
        ("feature-distance", "autoencoder", "custom"),
        ANOMALIES,
        "loss",
        "which images, or rows of a table, are not like the normal ones that it learns from",
        target_optional=True,
        shows=True,
        loss_settings=("threshold",),
    ),
    "reconstruction": TaskRow(
        IMAGES_OR_ROWS,
        "category",
        ("autoencoder", "custom"),
        REDRAWING,
        "mse",
        "images, or rows of a table, that are made again from a short code, or without what spoils them",
        target_optional=True,
        shows=True,
    ),
    "image-captioning": TaskRow(
        ("image",),
        "text",
        ("captioner", "custom"),
        CAPTION,
        "loss",
        "a text that says what is in an image",
        expensive=("bleu", "exact_match"),
        shows=True,
        loss_settings=("label_smoothing",),
        tokens="words",
    ),
    "text-classification": TaskRow(
        ("text",),
        "category",
        ("rnn", "transformer", "pretrained", "mlp", "custom"),
        CLASSIFICATION,
        "accuracy",
        "a class for each text",
        shows=True,
        loss_settings=CLASS_LOSS,
    ),
    "multi-label-classification": TaskRow(
        TABULAR,
        "tags",
        ("mlp", "perceptron", "cnn", "vit", "backbone", "rnn", "transformer", "pretrained", "custom"),
        TAGS,
        "f1_micro",
        "any number of tags for each row of a table, of numbers, categories, texts or images",
        loss_settings=("class_weights", *MIXED),
        augments=True,
    ),
    "text-generation": TaskRow(
        ("text",),
        "continuation",
        ("transformer", "rnn", "pretrained", "custom"),
        WRITING,
        "loss",
        "new text like that of the data: what follows each token",
        target_optional=True,
        shows=True,
        loss_settings=("label_smoothing",),
        generates=True,
        tokens="characters",
    ),
    "token-classification": TaskRow(
        ("words",),
        "word-tags",
        ("rnn", "transformer", "pretrained", "custom"),
        TAGGING,
        "f1",
        "a tag for each word of a sentence: named entities, parts of speech",
        shows=True,
        loss_settings=CLASS_LOSS,
    ),
    "translation": TaskRow(
        ("text",),
        "text",
        ("transformer", "rnn", "pretrained", "custom"),
        TRANSLATION,
        "loss",
        "each text in another language",
        expensive=("bleu", "exact_match"),
        shows=True,
        loss_settings=("label_smoothing",),
        tokens="bpe",
    ),
    "summarization": TaskRow(
        ("text",),
        "text",
        ("transformer", "rnn", "pretrained", "custom"),
        SUMMARY,
        "loss",
        "a short text for each long one",
        expensive=("rouge1", "rouge2", "rougeL", "exact_match"),
        shows=True,
        loss_settings=("label_smoothing",),
        tokens="bpe",
    ),
    "fill-mask": TaskRow(
        ("text",),
        "blanks",
        ("transformer", "rnn", "pretrained", "custom"),
        FILLING,
        "loss",
        "words that are hidden in a text: what later jobs on few texts start from",
        target_optional=True,
        shows=True,
    ),
    "question-answering": TaskRow(
        ("text",),
        "answer",
        ("transformer", "rnn", "pretrained", "custom"),
        ANSWERS,
        "f1",
        "the part of a text that answers a question",
        shows=True,
        tokens="bpe",
        texts=2,
    ),
    "instruction-tuning": TaskRow(
        ("dialogue",),
        "replies",
        ("transformer", "rnn", "pretrained", "custom"),
        REPLIES,
        "loss",
        "an answer to what a user says in a dialogue",
        target_optional=True,
        expensive=("exact_match",),
        shows=True,
        loss_settings=("label_smoothing",),
        generates=True,
        tokens="bpe",
    ),
}


def use_command(task: str, run: str) -> str:
    """Return the command that uses the model of a run."""
    row = next((row for name, row in TASKS.items() if name == task), None)
    if row is None or not row.generates:
        return f"stoker predict {run} --input DATA"
    target = {"image": " --output FOLDER", "number": " --output rows.csv"}
    return f"stoker generate {run}" + target.get(row.inputs[0], "")
