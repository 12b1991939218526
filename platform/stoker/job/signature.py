"""Shapes of a sample and of an output: all that dataset, network and task know of each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class NumbersInput:
    """All number columns of a sample: batches hold `numbers` (B, width) float32."""

    width: int


@dataclass(frozen=True)
class CategoriesInput:
    """All category columns of a sample: batches hold `categories` (B, len(sizes)) int64."""

    sizes: tuple[int, ...]
    """Size of each vocabulary; 0 stands for unknown or missing in each."""


@dataclass(frozen=True)
class ImageInput:
    """An image: batches hold (B, channels, height, width) float32, standardised on the training set."""

    channels: int
    height: int
    width: int
    tile: tuple[int, int] | None = None
    """Height and width of the tiles that a step of training sees of larger images; None where it sees them whole."""


@dataclass(frozen=True)
class TextInput:
    """A text as token numbers: batches hold (B, longest of the batch) int64, padded with 0 at the end."""

    vocabulary: int
    """Number of tokens, padding (0) and the other special ones of datasets.tokens included."""
    length: int
    """Most tokens of a text; longer ones are cut off."""


@dataclass(frozen=True)
class WordsInput:
    """A sentence: batches hold (B, longest of the batch, 1 + characters) int64, padded with 0 at the end.

    For each word there are its number and those of its characters.
    """

    vocabulary: int
    """Number of words, as for TextInput; words are in lower case, and rare ones are unknown (1)."""
    alphabet: int
    """Number of characters, padding (0) and the unknown one (1) included."""
    length: int
    """Most words of a sentence; longer ones are cut off."""
    characters: int
    """Characters of a word."""


@dataclass(frozen=True)
class PairInput:
    """A question and a part of a text in one sequence: batches hold (B, longest of the batch, 4) int64 as `PAIR`.

    For each token there are its number, its segment (`QUESTION`, `CONTEXT` or `REPEATED`), and where it begins and ends
    in the text; ends of 0 are those of tokens that no answer begins or ends with. All are 0 for padding.
    """

    vocabulary: int
    """As for TextInput."""
    length: int
    """Most tokens of a question, a part of a text, and what stands around them."""


@dataclass(frozen=True)
class PiecesInput:
    """A sentence whose words are cut into tokens: batches hold (B, longest of the batch, 2) int64, padded with 0.

    For each token there are its number and that of its word, counted from 1; the latter is 0 for tokens that stand
    around a sentence.
    """

    vocabulary: int
    """As for TextInput."""
    length: int
    """Most tokens of a sentence, with those around it; longer ones are cut off."""


PAIR = "pair"
"""Name of a question with its text among the inputs."""
QUESTION, CONTEXT, REPEATED = 1, 2, 3
"""Segments of a pair: tokens of the question, of the text, and of the text such as the question has, too."""
Input = NumbersInput | CategoriesInput | ImageInput | TextInput | WordsInput | PairInput | PiecesInput


@dataclass(frozen=True)
class ClassOutput:
    """One of several classes: networks return (B, classes) logits; targets are (B,) int64."""

    classes: tuple[str, ...]


@dataclass(frozen=True)
class NormalityOutput:
    """How odd an image is: networks return (B, 1 + height * width), its score and that of each pixel, row by row.

    For a row of a table it is (B, 1 + numbers + categories), its score and that of each column.

    A score above 1 is that of an anomaly. Targets are (B,) int64: the number of the normal class, or -1.
    """

    classes: tuple[str, ...]
    """The normal classes; one without a name where the data has no label."""


@dataclass(frozen=True)
class ValueOutput:
    """A number: networks return (B, 1), in units of `scale` around `mean`; targets are (B,) float32."""

    name: str
    mean: float
    scale: float


IGNORED = 255
"""Class number of pixels that are neither learnt nor measured."""


@dataclass(frozen=True)
class MaskOutput:
    """A class for each pixel: networks return (B, classes, height, width) logits; targets are (B, height, width)."""

    classes: tuple[str, ...]
    """The names of the classes: the pixel values of the mask files."""
    height: int
    width: int


@dataclass(frozen=True)
class BoxesOutput:
    """Any number of boxes, each with a class: networks return (B, cells, 6 + classes) proposals.

    A proposal is the place of its cell (x, y), the left, upper, right and lower side of a box, and a logit for each
    class; places are shares of the image's width and height. Targets are (B, most boxes of the batch, 5) float32: the
    class, counted from 1, and the four sides, padded with 0.
    """

    classes: tuple[str, ...]


@dataclass(frozen=True)
class TagsOutput:
    """Any number of tags: networks return (B, tags) logits; targets are (B, tags) uint8, 1 where a sample has a tag."""

    tags: tuple[str, ...]


@dataclass(frozen=True)
class ContinuationOutput:
    """What follows each token of a text: networks return (B, length, vocabulary) logits; targets are (B, length) int64.

    Targets are 0 where nothing is to be learnt.
    """

    vocabulary: int
    borders: bool
    """Whether a sample may hold several texts, each with the token of its end, of which one must not see another."""


@dataclass(frozen=True)
class WordTagsOutput:
    """One of several tags for each word: networks return (B, length, tags) logits; targets are (B, length) int64.

    Targets count the tags from 1; they are 0 behind the end of a sentence. Where words are cut into tokens, the length
    is that of the tokens, of which a sentence has no less than words.
    """

    tags: tuple[str, ...]
    types: tuple[str, ...]
    """The types of entities that the tags mark (IOB); empty where each tag stands for itself."""


@dataclass(frozen=True)
class TextOutput:
    """Another text: networks return (B, n, vocabulary) logits of what follows each of the (B, n) tokens of `WRITTEN`.

    Targets are (B, longest of the batch) int64: whole texts, each with the token of its end, padded with 0.
    """

    vocabulary: int
    """Number of tokens: those of the input, since both have one vocabulary."""
    length: int
    """Most tokens of a text that is learnt, its end included; longer ones are cut off."""
    longest: int
    """Most tokens of a text that is written, its end included: those of the longest training sample."""


@dataclass(frozen=True)
class SpanOutput:
    """A part of a text: networks return (B, length, 2) logits of where it begins and ends, the first place for none.

    Targets are (B, longest of the batch) int32: an AnswerWindow of datasets.answer_windows, padded with 0.
    """

    longest: int
    """Most tokens of an answer."""
    optional: bool
    """Whether a question may have no answer."""


WRITTEN = "written"
"""Name beside the inputs of what is written so far: the token of the end, which begins a text, and those behind it."""


@dataclass(frozen=True)
class BlanksOutput:
    """Words of the text itself, which are hidden from the network: it returns (B, length, vocabulary) logits.

    Where the inputs have `CHOSEN`, (B, length) truth values, it returns (n, vocabulary) logits of these n places alone.
    """

    vocabulary: int
    length: int
    """Most tokens of a text."""
    mask: int = 3
    """Number of the token that stands for a hidden word: the special one of all tokenizers, or a model's own."""


CHOSEN = "chosen"
"""Name beside the inputs of the places whose outputs are needed."""
Output = (
    ClassOutput
    | NormalityOutput
    | ValueOutput
    | MaskOutput
    | BoxesOutput
    | TagsOutput
    | ContinuationOutput
    | WordTagsOutput
    | TextOutput
    | SpanOutput
    | BlanksOutput
)


@dataclass(frozen=True)
class Signature:
    """Inputs and output of a network."""

    inputs: Mapping[str, Input]
    """By the name under which batches hold them: `numbers`, `categories`, or the column's name."""
    output: Output | None = field(default=None)
    """None for a task without labels."""

    @property
    def numbers(self) -> int:
        """Return how many float columns a sample has."""
        return next((shape.width for shape in self.inputs.values() if isinstance(shape, NumbersInput)), 0)

    @property
    def categories(self) -> tuple[int, ...]:
        """Return the size of each category column's vocabulary."""
        return next((shape.sizes for shape in self.inputs.values() if isinstance(shape, CategoriesInput)), ())

    @property
    def images(self) -> dict[str, ImageInput]:
        """Return the images of a sample by name."""
        return _of_kind(self.inputs, ImageInput)

    @property
    def texts(self) -> dict[str, TextInput]:
        """Return the texts of a sample by name."""
        return _of_kind(self.inputs, TextInput)

    @property
    def sentences(self) -> dict[str, WordsInput]:
        """Return the sentences of a sample by name."""
        return _of_kind(self.inputs, WordsInput)

    @property
    def pieces(self) -> dict[str, PiecesInput]:
        """Return the sentences of a sample whose words are cut into tokens, by name."""
        return _of_kind(self.inputs, PiecesInput)

    @property
    def pairs(self) -> dict[str, PairInput]:
        """Return the only question with its text, by name; nothing if there is none."""
        return _of_kind(self.inputs, PairInput)

    @property
    def tokens(self) -> tuple[TextInput | PairInput | PiecesInput, ...]:
        """Return the shapes of all inputs that are cut into tokens."""
        return tuple(each for each in self.inputs.values() if isinstance(each, TextInput | PairInput | PiecesInput))

    @property
    def image(self) -> ImageInput:
        """Return the only image of a sample."""
        (shape,) = self.images.values()
        return shape

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes to tell apart; none where the output has no classes."""
        match self.output:
            case ClassOutput() | MaskOutput() | BoxesOutput():
                return self.output.classes
            case WordTagsOutput(tags):
                return tags
            case _:
                return ()

    @property
    def weighted(self) -> tuple[str, ...]:
        """Return what `training.class_weights` weighs: classes, or tags; none where the output has neither."""
        return self.output.tags if isinstance(self.output, TagsOutput) else self.classes

    @property
    def first_class(self) -> int:
        """Return the number of the first class in targets; those below it are not learnt."""
        return 1 if isinstance(self.output, WordTagsOutput) else 0


def _of_kind(inputs: Mapping[str, Input], kind: type[Kind]) -> dict[str, Kind]:
    return {name: shape for name, shape in inputs.items() if isinstance(shape, kind)}
