"""Where samples come from, how they are read, and how they are split."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Tag, model_validator

from stoker.job.formats import Format
from stoker.job.section import SECTION_OR_NONE, Section, Shorthand


def _names(value: object) -> object:
    return [str(each) if type(each) is int else each for each in value] if isinstance(value, list) else value


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise ValueError(f"'{name}' is not an encoding (examples: utf-8, utf-16, latin-1, cp1250, shift_jis)") from None
    return name


class Columns(Section):
    """Which column plays which part; what is absent is inferred and shown by `plan`."""

    label: str | None = None
    """The column to predict. A built-in dataset, a folder of images and the like know their own. Tags are a list, or a
    text with `;`, `|` or `,` between them; a row without a value has none. Tags of words are a list with one for each
    word; of a conll file they are the last column. Of a list of texts to write, the first one is learnt. An
    answer is a part of its text: where it first occurs, unless a column `answer_start` has the place of its first
    character, counted from 0; without a value the question has no answer. A list has several answers that are right."""

    names: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """The names of all columns, in order, for a csv file without a header line, or for a conll file, of which otherwise
    the first column (words) and the last one (tags) are read."""

    features: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    """The columns to predict from; default: all that are left. To answer questions, `[question, context]`: the column
    of questions, then that of the texts with the answers."""

    drop: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Columns to leave out."""

    weight: str | None = None
    """A column with the weight of each row in the loss; in the other metrics all rows count the same."""

    group: str | None = None
    """A column whose equal values stay in one part of the split."""

    classes: (
        Annotated[
            tuple[str, ...],
            Field(strict=False, min_length=2),
            BeforeValidator(_names, json_schema_input_type=list[str | int]),
        ]
        | None
    ) = None
    """All classes or tags of the label, in order; default: those of the training samples. Needed where shards are
    streamed and the first one lacks some, and to name the tags of words that are written as numbers, from 0 on."""

    normal: (
        Annotated[
            tuple[str, ...],
            Field(strict=False, min_length=1),
            BeforeValidator(_names, json_schema_input_type=list[str | int]),
        ]
        | None
    ) = None
    """The classes of the label that are normal, such as `[good]`, to find anomalies: only they are learnt from, and all
    others are kept for validation and test. Default: the classes of the training part of a source that is split itself,
    or the only one."""

    clean: bool = False
    """Take labels that differ by case or blanks only for one class, by its most frequent spelling."""

    scaling: Literal["standard", "quantile"] | None = None
    """How numbers are scaled: `standard` by their mean and deviation, those with a long tail by their logarithm;
    `quantile` by their rank, as if they had a normal distribution. Default: quantile to make new rows, otherwise
    standard."""

    types: dict[str, Literal["number", "time", "category", "text", "image", "words", "dialogue"]] = Field({})
    """The type of a column where the inferred one is wrong: number, time (a date or a time), category, text, image
    (a path to a file), words (a list of them), or dialogue (a list of messages)."""


def _pair(value: object) -> object:
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


Pixels = Annotated[int, Field(ge=1, le=4096)]
Augmentation = Literal["flip", "turn", "crop", "zoom", "rotate", "jitter", "erase", "randaugment"]


Levels = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(strict=False, min_length=1, max_length=3)]
Deviations = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(strict=False, min_length=1, max_length=3)]


class Normalization(Section):
    """Mean and deviation by which pixels are standardised: three numbers each make images coloured, one is for all."""

    mean: Levels
    """Mean of each channel, from 0 (black) to 1, such as `[0.485, 0.456, 0.406]`."""

    std: Deviations
    """Deviation of each channel, such as `[0.229, 0.224, 0.225]`."""

    @model_validator(mode="after")
    def _of_grey_or_colour(self) -> "Normalization":
        if len(self.mean) != len(self.std) or len(self.mean) == 2:
            raise ValueError("mean and std have one number each, or three: red, green and blue")
        return self


Sides = Annotated[
    tuple[Pixels, Pixels], Field(strict=False), BeforeValidator(_pair, json_schema_input_type=int | list[int])
]


class Image(Section):
    """What happens to images before the network sees them."""

    size: Sides | None = None
    """Height and width in pixels, one number for both. Default: as they are; where they differ, or have a side of more
    than 256 and are recognised as a whole, a common square of at most 128."""

    tile: Sides | None = None
    """Height and width of the part of an image that a step of training sees, drawn anew each time, where each pixel is
    recognised; one number for both. Metrics and predictions are of whole images, in overlapping tiles of this size.
    Default: a step sees whole images."""

    augment: Annotated[tuple[Augmentation, ...], Field(strict=False)] | None = None
    """Random changes while training, drawn anew for each sample: flip (left-right), turn (by quarters, or by half a
    turn where the sides differ: for pictures that may be seen from any side), crop (shift by up to an eighth),
    zoom (a part of at least half the area), rotate (up to 15 degrees), jitter (brightness, contrast, saturation), erase
    (a rectangle of half the images), randaugment (two of ten changes of geometry and colour). Default, where the whole
    picture is recognised: flip, crop, jitter and erase for photos, which are colour images of 32x32 or more; crop and
    rotate for signs, which are classes named by numbers, letters, left or right, and all other images of 16x16 or more.
    Where each pixel is recognised: flip and crop for photos. `[]` for none."""

    normalization: Normalization | None = None
    """Mean and deviation by which pixels are standardised. Default: those that the weights of a backbone need, those of
    the model that training starts from, or those of the training part."""


def _as_hex(value: object) -> object:
    """Return a colour of three numbers as `#rrggbb`; other values as they are."""
    if not isinstance(value, list):
        return value
    if len(value) != 3 or not all(type(each) is int and 0 <= each <= 255 for each in value):
        raise ValueError("is not a colour: three whole numbers from 0 to 255, red, green and blue")
    return "#" + "".join(f"{each:02x}" for each in value)


def _pixel_value(value: int | str) -> int | str:
    if isinstance(value, int):
        if not 0 <= value <= 255:
            raise ValueError(f"{value} is not a value of a pixel, from 0 to 255")
        return value
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        raise ValueError(f"'{value}' is not a colour; write it as '#ff8000' or [255, 128, 0]")
    return value.lower()


PixelValue = Annotated[
    int | str, BeforeValidator(_as_hex, json_schema_input_type=int | str | list[int]), AfterValidator(_pixel_value)
]
"""Of a mask: a number from 0 to 255, or a colour."""


class Mask(Section):
    """How the pixels of masks stand for classes."""

    classes: Annotated[dict[str, PixelValue], Field(min_length=2, max_length=64)] | None = None
    """The classes by name, each with its value in the masks or its colour, the background first, such as
    `{soil: 0, crop: 1}` or `{road: "#804080", car: [0, 0, 142]}`. A mask with a palette is read by colours where these
    are colours. Default: the values or colours of the training masks, which `plan` lists."""

    ignore: PixelValue | None = None
    """The value or colour of pixels that are neither learnt nor measured, such as 255 around objects."""

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Mask":
        values = [*(self.classes or {}).values(), *([] if self.ignore is None else [self.ignore])]
        if len({type(value) for value in values}) > 1:
            raise ValueError("names both numbers and colours; masks hold either")
        if len(set(values)) < len(values):
            raise ValueError("names a value twice; each class, and what is ignored, has its own")
        return self


LongTexts = Literal["cut", "refuse"]
Tokens = Literal["words", "characters", "bytes", "bpe", "wordpiece"]


class Text(Section):
    """How texts become token numbers."""

    tokens: Tokens | None = None
    """What a text is cut into: lower-case `words` and punctuation marks; `characters`; the `bytes` of UTF-8; frequent
    parts of words, `bpe` (Sennrich et al. 2016), which loses nothing, or `wordpiece`, in lower case. Default:
    characters to generate text, bpe to translate, summarise and answer questions, words otherwise. A text and its
    translation, summary or question have one vocabulary."""

    tokenizer: str | None = Field(None, min_length=1)
    """A folder, or a model of the Hugging Face Hub, with the tokenizer.json that cuts texts in place of one that is
    fitted. Default: that of a pretrained network's model."""

    prefix: str = Field("", max_length=1_000)
    """What is put before each text that is read, such as `translate English to German: `, as a pretrained model was
    trained with; its tokens count as those of the text."""

    vocabulary: int | None = Field(None, ge=2, le=1_000_000)
    """Most different tokens that are kept, those of the training part; others count as unknown. Default: 20,000, for
    parts of words 8,000."""

    length: int = Field(256, ge=1, le=65_536)
    """Most tokens of a text, or words of a sentence; what is beyond is cut off, and `plan` says of how many texts. A
    pretrained network counts the tokens of a sentence. A text to continue is cut into pieces of this length, and a text
    that answers a question is read in overlapping windows, of this length with the question."""

    long: LongTexts = "cut"
    """What happens to a text of more than `length` tokens, or than a pretrained model reads: `cut` it off, or `refuse`
    it, in training and by the model; the message then says how many there are, and the row of the first one."""


class Split(Section):
    """How samples are held out: at random by shares, by a column that names the part, or by time."""

    column: str | None = None
    """A column that names the part of each row: train, val (or valid, validation, dev) or test; it is not a feature."""

    time: str | None = None
    """A column of numbers or ISO dates to split by: the earliest rows are for training, then come validation and test,
    by the shares. Rows of equal time stay in one part. It is a feature only if `columns.features` names it."""

    train: float = Field(0.8, gt=0, le=1)
    """Share to learn from."""

    val: float = Field(0.1, ge=0, lt=1)
    """Share to choose the best weights by."""

    test: float = Field(0.1, ge=0, lt=1)
    """Share to report on, used once. The shares may add up to less than 1; the rest, the latest of a split by time, is
    left out."""

    stratify: bool = True
    """Keep the shares of the classes equal in all parts; without effect on a regression and on a split by time."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the split alone, so that `training.seed` may vary on the same parts."""

    @model_validator(mode="after")
    def _at_most_everything(self) -> "Split":
        if self.train + self.val + self.test > 1 + 1e-9:
            raise ValueError(f"the shares add up to {self.train + self.val + self.test:g}, more than 1")
        return self


SplitChoice = Annotated[Annotated[Split, Tag("section")] | Annotated[Literal["none"], Tag("none")], SECTION_OR_NONE]


class Dataset(Section):
    """The samples to learn from."""

    source: str = Field(min_length=1)
    """A built-in name (see `stoker list datasets`), a path to a file or folder, a pattern such as `data/*.csv`, or an
    address: `s3://BUCKET/PREFIX/`, `https://HOST/FILE` with an optional `#sha256=HEX`, or
    `hf://datasets/OWNER/NAME[@REVISION][/PATH]`. What is remote is downloaded once, see `stoker cache`. `${NAME}`
    stands for an environment variable."""

    format: Format | None = None
    """How to read it; default: from the file's name. `parallel` is a folder with a file for each language, such as
    train.en and train.de, whose lines belong together; its columns are named by the languages. `squad` is the JSON of
    SQuAD 1.1 or 2.0, or a folder with several such as train.json and dev.json. Boxes are in folders
    as Pascal VOC (`voc`: JPEGImages/, Annotations/) or YOLO (`yolo`: images/, labels/) have them, or in COCO's JSON
    (`coco`), from whose outlines `coco-masks` draws masks. Delimiter, encoding
    (UTF-8, UTF-16 or cp1252) and quote of a csv file are detected; `stoker data` shows them, and `plan` those other
    than `,`, UTF-8 and `"`."""

    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    """The encoding of csv, jsonl, conll, squad, text and parallel files, such as latin-1 or shift_jis; default:
    detected for csv, UTF-8 for the others."""

    loading: Literal["auto", "resident", "loaded", "streaming"] = "auto"
    """How samples reach a step: `resident` decodes all of them into memory at the start, `loaded` decodes files in
    separate processes some steps ahead, `streaming` also fetches WebDataset shards some steps ahead, so that the whole
    is never on this machine. Default: resident if they take at most a quarter of the memory; shards on a server that
    take more are streamed."""

    columns: Columns = Field({}, validate_default=True)
    """The parts that the columns of a table play."""

    image: Image = Field({}, validate_default=True)
    """How images are prepared."""

    mask: Mask = Field({}, validate_default=True)
    """How the pixels of masks stand for classes."""

    text: Text = Field({}, validate_default=True)
    """How texts are prepared."""

    split: SplitChoice = Field({}, validate_default=True)
    """Shares for training, validation and test, or the column that decides; `none` trains on everything."""


DatasetChoice = Annotated[Dataset, Shorthand("source")]
