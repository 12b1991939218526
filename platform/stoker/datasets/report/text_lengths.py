"""How long the texts of a dataset are before anything is cut off: what a run notes and draws, without reading again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stoker.datasets.columns import Column, Ragged, Windows
from stoker.datasets.fields.field import Field
from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.word_pieces import WordPiecesField
from stoker.datasets.fields.texts.words import WordsField
from stoker.datasets.layouts.dialogues import Dialogues
from stoker.datasets.layouts.questions import Questions
from stoker.datasets.samples import Samples
from stoker.datasets.tokens.tokenizer import END
from stoker.datasets.windows.passages import Passages
from stoker.job.signature import PAIR, ContinuationOutput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 40
WIDE = 20
"""Ratio of the longest text to the median from which lengths are drawn in powers of ten."""
COLOURS = {"train": "tab:blue", "val": "tab:orange", "test": "tab:green"}


@dataclass(frozen=True)
class TextLengths:
    """The lengths of the texts of a column."""

    column: str
    unit: str
    """What is counted, such as words."""
    limit: int
    """Most of them that are read, or learnt to write, of a text."""
    beyond: str
    """What happens to longer texts."""
    parts: dict[str, np.ndarray]
    """(N,) length of each text as a whole, by the part of the data."""
    noted: bool = True
    """Whether a run notes how many are longer."""

    def longer(self, part: str | None = None) -> int:
        """Return how many texts of a part, or of all, are longer than the limit."""
        return sum(int((found > self.limit).sum()) for name, found in self.parts.items() if part in (None, name))


def text_lengths(fields: Fields, parts: Mapping[str, Samples]) -> list[TextLengths]:
    """Return the lengths of all columns of texts and sentences; none for a single text, or for streamed samples."""
    if isinstance(fields.own, ContinuationOutput):
        return _of_documents(fields, parts) if fields.own.borders else []
    if isinstance(fields.layout, Questions):
        return _of_passages(fields.layout.passages, parts)
    if isinstance(fields.layout, Dialogues):
        return _of_dialogues(fields.layout, parts)
    found = []
    columns: list[tuple[Field, dict[str, Column]]] = [
        (each, {part: samples.inputs[name] for part, samples in parts.items()})
        for name, (each, *_) in fields.layout.groups.items()
    ]
    if fields.target:
        columns.append((fields.target, {part: known.target for part, known in parts.items() if known.target}))
    for each, stored in columns:
        ragged = {part: column for part, column in stored.items() if isinstance(column, Ragged)}
        if isinstance(each, TextField | TargetTextField | WordsField | WordPiecesField) and len(ragged) == len(parts):
            found.append(_of_column(each, ragged))
    return found


def length_notes(fields: Fields, parts: Mapping[str, Samples]) -> Iterator[str]:
    """Yield notes on training texts that are cut off, or read in several windows."""
    lengths = text_lengths(fields, parts)
    if isinstance(fields.layout, Questions):
        asked, contexts = (each.parts["train"] for each in lengths)
        yield from fields.layout.passages.notes(asked, contexts)
    for each in lengths:
        if each.noted and (longer := each.longer("train")):
            count = f"{longer:,} of {len(each.parts['train']):,} training texts"
            yield f"column '{each.column}': {count} have more than {each.limit} {each.unit} and {each.beyond}"


def draw_lengths(lengths: list[TextLengths]) -> "Figure":
    """Draw a histogram for each column, with its limit, and how many texts are longer in the title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6 * len(lengths)), layout="constrained")
    for axes, each in zip(figure.subplots(len(lengths), squeeze=False)[:, 0], lengths, strict=True):
        _draw(axes, each)
    return figure


def _draw(axes: "Axes", lengths: TextLengths) -> None:
    every = np.concatenate(list(lengths.parts.values()))
    most = max(int(every.max(initial=1)), 1)
    wide = most > WIDE * max(float(np.median(every)) if len(every) else 0.0, 1.0)
    width = -(-(most + 1) // BINS)  # each bar stands for as many lengths
    linear = np.arange(0, most + width + 1, width, dtype=np.float64)
    edges: list[float] = (np.geomspace(1, most + 1, BINS + 1) if wide else linear).tolist()
    for part, found in lengths.parts.items():
        weights = np.full(len(found), 1 / max(len(found), 1))
        share = f"{lengths.longer(part) / max(len(found), 1):.1%} longer"
        label, colour = f"{part} ({len(found):,}, {share})", COLOURS[part]
        axes.hist(np.maximum(found, edges[0]), edges, weights=weights, histtype="step", color=colour, label=label)
    axes.axvline(lengths.limit, color="firebrick", linestyle="--", label=f"limit: {lengths.limit:,}")
    if wide:
        axes.set_xscale("log")
    axes.set(xlabel=f"{lengths.unit} of a text", ylabel="share of the texts", ylim=(0, None))
    longer = f"{lengths.longer() / max(len(every), 1):.1%} of {len(every):,} texts have over {lengths.limit:,}"
    axes.set_title(f"{lengths.column}: {longer} {lengths.unit} and {lengths.beyond}", fontsize=10, wrap=True)
    axes.legend(fontsize=9)


def _of_column(
    field: TextField | TargetTextField | WordsField | WordPiecesField, stored: Mapping[str, Ragged]
) -> TextLengths:
    """Return the lengths of a column that is cut off at a limit."""
    key = "are cut off there (dataset.text.length)"
    if isinstance(field, TextField | TargetTextField) and field.tokens == "pretrained":
        key = "are cut off there (dataset.text.length, at most what the model reads)"
    match field:
        case TextField():
            unit, limit, around = field.tokenizer.unit, field.room, sum(map(len, field.tokenizer.around))
        case TargetTextField():
            unit, limit, around = field.tokenizer.unit, field.room, len(field.before) + 1  # the token of its end
        case WordPiecesField():
            key = "are cut off there (dataset.text.length, at most what the model reads)"
            unit, limit, around = field.text.tokenizer.unit, field.text.room, sum(map(len, field.around))
        case WordsField():
            unit, limit, around = "words", field.length, 0
    parts = {part: _whole(column, around) for part, column in stored.items()}
    return TextLengths(field.name, unit, limit, key, parts)


def _whole(column: Ragged, around: int) -> np.ndarray:
    """Return (N,) lengths without the tokens around each text."""
    if column.whole is not None:
        return column.whole.numpy()
    lengths: np.ndarray = np.maximum(column.lengths().cpu().numpy() - around, 0)
    return lengths


def _of_documents(fields: Fields, parts: Mapping[str, Samples]) -> list[TextLengths]:
    """Return the lengths of texts that follow one another, each with the token of its end."""
    text, found = fields.text, {}
    for part, samples in parts.items():
        column = samples.inputs[text.name]
        if not isinstance(column, Windows):
            return []
        ends = np.flatnonzero(column.values.cpu().numpy() == END)
        found[part] = np.diff(ends, prepend=-1) - 1
    return [TextLengths(text.name, text.tokenizer.unit, text.length, "are read in windows", found, noted=False)]


def _of_passages(passages: Passages, parts: Mapping[str, Samples]) -> list[TextLengths]:
    """Return the lengths of questions and of the texts that answer them, each question once."""
    asked, contexts = {}, {}
    for part, samples in parts.items():
        column = samples.inputs[PAIR]
        if not isinstance(column, Ragged) or column.whole is None:
            return []
        _, first = np.unique(samples.ids.cpu().numpy(), return_index=True)
        asked[part], contexts[part] = column.whole.numpy()[first].T
    unit, (question, context) = passages.context.tokenizer.unit, (passages.question.name, passages.context.name)
    windows = "are read in windows, with their question (dataset.text.length)"
    return [
        TextLengths(question, unit, passages.most_asked, "are cut off there", asked, noted=False),
        TextLengths(context, unit, passages.room, windows, contexts, noted=False),
    ]


def _of_dialogues(layout: Dialogues, parts: Mapping[str, Samples]) -> list[TextLengths]:
    """Return the lengths of dialogues, with the signs of who speaks."""
    field, found = layout.field, {}
    for part, samples in parts.items():
        column = samples.inputs[field.name]
        if not isinstance(column, Ragged) or column.whole is None:
            return []
        found[part] = column.whole[:, 0].numpy() - 1  # the last token is only learnt
    beyond = "lose their oldest turns, or the end of the last one (dataset.text.length)"
    return [TextLengths(field.name, field.tokenizer.unit, field.length, beyond, found, noted=False)]
