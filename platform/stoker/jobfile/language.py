"""The job language as a tree, read from the settings: which keys exist where, and what each may hold."""

import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Discriminator
from pydantic.fields import FieldInfo

from stoker.job.job import Job
from stoker.job.section import Interval, Section, Shorthand, Span, Time


@dataclass(frozen=True)
class Shape:
    """What a key may hold."""

    section: type[Section] | None = None
    """The object it holds."""
    tag: str = ""
    """The key that says which of `choices` an object is: `type` or `family`."""
    choices: tuple[tuple[str, type[Section]], ...] = ()
    words: tuple[Any, ...] = ()
    """The only values it may hold; next to `section`, a word that replaces the object."""
    items: Any = None
    """Type of the items of a list, or of the values of an object with free keys."""
    scalar: str = ""
    """The type of a single value in words."""
    short: str = ""
    """The key that a bare string stands for."""
    container: str = ""
    """`list` or `object` where `items` is set."""

    @property
    def grouped(self) -> bool:
        """Whether it holds one choice, or an object with a choice under each of its free keys."""
        return bool(self.choices) and self.items is not None

    @property
    def labelled(self) -> bool:
        """Whether pydantic puts the name of the choice between the key and the keys below it."""
        return bool(self.choices) or (self.section is not None and bool(self.words))

    def option(self, label: str) -> "Shape":
        """Return the shape of one choice."""
        if self.grouped and label in (ONE, GROUPS):
            return (
                replace(self, items=None, container="") if label == ONE else Shape(items=self.items, container="object")
            )
        chosen = dict(self.choices).get(label, self.section)
        return Shape(section=chosen) if label != "none" else Shape(words=self.words)


ONE, GROUPS = "one", "groups"
"""The names that pydantic puts before a choice that may also be an object of choices."""
_SCALARS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def shape_of(hint: Any) -> Shape:
    """Read a type annotation of the settings."""
    if hint == Span:
        return Shape(scalar="a stretch of training such as 5%, 500 steps or 2 epochs")
    if hint == Interval:
        return Shape(scalar="a stretch of training or a length of time, such as 500 steps or 10 min")
    if hint == Time:
        return Shape(scalar="a length of time such as 10 min")
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(shape_of(arguments[0]), arguments[1:])
    if origin in (Union, types.UnionType):
        return _union([shape_of(each) for each in arguments if each is not type(None)])
    if origin is Literal:
        return Shape(words=arguments)
    if origin is tuple:
        return Shape(items=arguments[0], container="list")
    if origin is dict:
        return Shape(items=arguments[1], container="object")
    if isinstance(hint, type) and issubclass(hint, Section):
        return Shape(section=hint)
    return Shape(scalar=_SCALARS.get(hint, ""))


def _annotated(inner: Shape, metadata: tuple[Any, ...]) -> Shape:
    changes: dict[str, Any] = {}
    for each in metadata:
        if isinstance(each, Shorthand):
            changes["short"] = each.key
        if isinstance(each, FieldInfo) and isinstance(each.discriminator, str):
            changes["tag"] = each.discriminator
        if isinstance(each, Discriminator) and isinstance(each.discriminator, str):
            changes["tag"] = each.discriminator
    return Shape(**{**inner.__dict__, **changes})


def _union(members: list[Shape]) -> Shape:
    if len(members) == 1:
        return members[0]
    chosen = [member for member in members if member.choices]
    free = [member for member in members if member.container == "object"]
    if chosen and free:
        return replace(chosen[0], items=free[0].items, container="object")
    sections = [member.section for member in members if member.section]
    words = tuple(word for member in members for word in member.words)
    if len(sections) == 1:
        return Shape(section=sections[0], words=words)
    return Shape(choices=tuple((tag_value(section), section) for section in sections), words=words)


def tag_value(section: type[Section]) -> str:
    """Return the name of a choice: the only value of its first field."""
    hint = get_type_hints(section, include_extras=True)[next(iter(section.model_fields))]
    return str(get_args(hint)[0])


@cache
def keys_of(section: type[Section]) -> dict[str, Shape]:
    """Return the keys of an object as a job writes them, in reading order."""
    hints = get_type_hints(section, include_extras=True)
    return {info.alias or name: shape_of(hints[name]) for name, info in section.model_fields.items()}


def walk() -> Iterator[tuple[str, str]]:
    """Yield every dotted path of the language, with the name of the choice it belongs to, or ''."""
    yield from _walk(Shape(section=Job), "", "")


def _walk(shape: Shape, path: str, option: str) -> Iterator[tuple[str, str]]:
    for section, label in _sections(shape, option):
        for key, below in keys_of(section).items():
            below_path = f"{path}.{key}" if path else key
            yield below_path, label
            yield from _walk(below, below_path, "")


def _sections(shape: Shape, option: str) -> list[tuple[type[Section], str]]:
    chosen = [(section, label) for label, section in shape.choices]
    return [(shape.section, option), *chosen] if shape.section else chosen


@dataclass(frozen=True)
class Place:
    """Where a pydantic error belongs."""

    path: tuple[str, ...]
    option: str
    """The choice around the last key, `cnn`, or ''."""
    around: Shape | None
    """What holds the last key."""
    shape: Shape
    """What the last key itself may hold; empty for an unknown key."""

    @property
    def dotted(self) -> str:
        """The path as messages write it."""
        return ".".join(self.path)


def locate_error(location: tuple[int | str, ...]) -> Place:
    """Find the key of an error; pydantic's location also holds the names of choices, which are no keys."""
    path: list[str] = []
    option, around, shape = "", None, Shape(section=Job)
    label = ""
    labelled = False
    for part in location:
        if part == "[key]" and not shape.section and not shape.items:
            break  # the error is about the key itself
        if shape.labelled and not labelled:
            label = "" if part in {"section", "none", ONE, GROUPS} else str(part)
            labelled = not (shape.grouped and part == ONE)  # then the name of the choice follows
            shape = shape.option(str(part))
            continue
        path.append(str(part))
        option, around, label = label, shape, ""
        labelled = False
        if shape.section:
            shape = keys_of(shape.section).get(str(part), Shape())
        else:
            shape = shape_of(shape.items) if shape.items else Shape()
    return Place(tuple(path), option, around, shape)
