"""Fields by their kind: those that a network reads, and those that it learns."""

from stoker.datasets.fields.boxes import BoxesField
from stoker.datasets.fields.category import CategoryField, ClassField
from stoker.datasets.fields.field import InputField, TargetField
from stoker.datasets.fields.image import ImageField
from stoker.datasets.fields.mask import MaskField
from stoker.datasets.fields.normality import NormalityField
from stoker.datasets.fields.number import NumberField, ValueField
from stoker.datasets.fields.tags import TagsField
from stoker.datasets.fields.texts.answer import AnswerField
from stoker.datasets.fields.texts.dialogue import DialogueField
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.fields.texts.word_pieces import WordPiecesField
from stoker.datasets.fields.texts.word_tags import WordTagsField
from stoker.datasets.fields.texts.words import WordsField
from stoker.datasets.fields.time import TimeField
from stoker.job.signature import WRITTEN
from stoker.job.task import Kind

INPUT_FIELDS: dict[Kind, type[InputField]] = {
    "number": NumberField,
    "time": TimeField,
    "category": CategoryField,
    "text": TextField,
    "image": ImageField,
    "words": WordsField,
    "word-pieces": WordPiecesField,
    "dialogue": DialogueField,
}
CUT: dict[Kind, Kind] = {"words": "word-pieces"}
"""Kinds of columns that become another kind of field where a tokenizer is given."""
TARGET_FIELDS: dict[Kind, type[TargetField]] = {
    "category": ClassField,
    "normality": NormalityField,
    "number": ValueField,
    "mask": MaskField,
    "boxes": BoxesField,
    "tags": TagsField,
    "word-tags": WordTagsField,
    "text": TargetTextField,
    "answer": AnswerField,
}
SHARED = frozenset({*(kind.shared for kind in INPUT_FIELDS.values()), WRITTEN})
"""Names of tensors that a column of this name must not take."""
