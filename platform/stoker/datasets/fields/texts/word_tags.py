"""A tag to predict for each word of a sentence: of named entities (IOB), or any other such as a part of speech."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from stoker.datasets.columns import Column, Ragged
from stoker.datasets.fields.category import sorted_classes
from stoker.datasets.fields.field import TargetField
from stoker.datasets.fields.lists import read_lists, row_of
from stoker.datasets.fields.texts.words import sentences
from stoker.datasets.records import RawColumn
from stoker.errors import JobError, Problem
from stoker.job.dataset import Dataset
from stoker.job.signature import WordTagsOutput
from stoker.job.task import Kind

OUTSIDE = "O"
MAX_TAGS = 1000
_ENTITY_TAG = re.compile("([BIES])(?:-(.+))?")


@dataclass(frozen=True)
class WordTagsField(TargetField):
    """A tag for each word."""

    kind: ClassVar[Kind] = "word-tags"

    tags: tuple[str, ...]
    numbered: bool
    """Whether the data has the places of the tags in place of their names."""
    length: int
    """Most words of a sentence; the tags of others are truncated."""

    @classmethod
    def fit(cls, name: str, raw: RawColumn, settings: Dataset) -> Self:
        """Collect the tags of the training rows, unless the job names them.

        Tags of entities are completed: where one type begins with B- and goes on with I-, all do.

        Raises:
            JobError: there are no tags, only one, or too many.

        """
        counted = Counter(tag for tags in _read(raw) for tag in tags)
        if not counted:
            raise _problem("no training row has a tag: there is nothing to learn")
        if len(counted) > MAX_TAGS:
            cure = "name the column of tags, a list with one for each word"
            raise _problem(
                f"{len(counted)} different tags in the training rows, at most {MAX_TAGS} can be learnt; {cure}"
            )
        named = settings.columns.classes
        if named is None and len(counted) == 1:
            raise _problem(f"only one tag, '{next(iter(counted))}': there is nothing to distinguish")
        return cls(name, named or _completed(counted), _is_numbered(counted, named), settings.text.length)

    def encode(self, raw: RawColumn) -> Column:
        """Return the number of each word's tag, counted from 1, as sequences of int64.

        Raises:
            JobError: a tag is unknown.

        """
        names = [str(number) for number in range(len(self.tags))] if self.numbered else self.tags
        numbers = {tag: number for number, tag in enumerate(names, start=1)}
        found = _read(raw)
        for place, tags in enumerate(found):
            if unknown := next((tag for tag in tags if tag not in numbers), None):
                found_in = f"column '{self.name}', row {row_of(raw, place)}: '{unknown}' is none of the tags"
                cure = "name all tags in dataset.columns.classes"
                raise JobError([Problem("dataset.columns.classes", f"{found_in} that training knows; {cure}")])
        return Ragged.of([[numbers[tag] for tag in tags[: self.length]] for tags in found])

    def notes(self, raw: RawColumn, parts: np.ndarray) -> Iterator[str]:
        """Yield a note on what the tags are taken for."""
        if types := self.output.types:
            yield f"column '{self.name}': entities of {len(types)} type{'s' * (len(types) > 1)} ({', '.join(types)})"

    @property
    def output(self) -> WordTagsOutput:
        """Return the tags."""
        return WordTagsOutput(self.tags, entity_types(self.tags))


def check_lengths(words: RawColumn, tags: RawColumn, name: str) -> None:
    """Check that each word of each sentence has a tag.

    Raises:
        JobError: a row has more or fewer.

    """
    for place, (sentence, found) in enumerate(zip(sentences(words), _read(tags), strict=True)):
        if len(sentence) != len(found):
            counts = f"{_counted(len(sentence), 'word')} and {_counted(len(found), 'tag')}"
            cure = 'write a list of each, such as ["EU", "rejects"] and ["B-ORG", "O"]'
            raise _problem(f"row {row_of(tags, place)} has {counts} in column '{name}'; {cure}")


def entity_types(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the types of entities of tags such as B-LOC, I-LOC and O, sorted; none where tags are anything else.

    S- and E- (a single word, the last one) are known, too; a tag without a type has the type `_`.
    """
    matches = [_ENTITY_TAG.fullmatch(tag) for tag in tags if tag != OUTSIDE]
    if not matches or any(match is None for match in matches):
        return ()
    return tuple(sorted({match[2] or "_" for match in matches if match}))


def _completed(counted: Counter[str]) -> tuple[str, ...]:
    """Return all tags: every type of entity with every prefix that occurs, or the tags as they are."""
    types = entity_types(tuple(counted))
    if not types or "_" in types:
        return sorted_classes(np.array(list(counted), object))
    prefixes = sorted({tag[0] for tag in counted if tag != OUTSIDE})
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in prefixes))


def _is_numbered(counted: Counter[str], named: tuple[str, ...] | None) -> bool:
    """Return whether all tags are places in a list of names."""
    if named is None or counted.keys() <= set(named):
        return False
    return all(tag.isdecimal() and int(tag) < len(named) for tag in counted)


def _read(raw: RawColumn) -> list[list[str]]:
    return read_lists(raw, str.split)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _problem(message: str) -> JobError:
    return JobError([Problem("dataset.columns.label", message)])
