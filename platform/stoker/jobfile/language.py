"""The job language as a tree of keys and their types, derived from the settings classes."""

import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Discriminator
from pydantic.fields import FieldInfo

from stoker.job.job import Job
from stoker.job.own_code import CodeJob
from stoker.job.section import Epochs, Interval, Section, Shorthand, Span, Time


@dataclass(frozen=True)
class KeyType:
    """The type of a key's value."""

    section: type[Section] | None = None
    """Class of the object, if the value is an object with fixed keys."""
    tag: str = ""
    """The key that decides which of `choices` an object is: `type` or `family`."""
    choices: tuple[tuple[str, type[Section]], ...] = ()
    """Tag and class of each member of a tagged union."""
    words: tuple[Any, ...] = ()
    """The only allowed values; next to `section` or `items`, a word that replaces the object."""
    items: Any = None
    """Annotation of the items of a list, or of the values of an object with free keys."""
    scalar: str = ""
    """Description of the type of a single value."""
    short: str = ""
    """The key that a bare string stands for."""
    container: str = ""
    """`list` or `object` if `items` is set."""

    @property
    def grouped(self) -> bool:
        """Whether it holds one choice, or an object with a choice under each of its free keys."""
        return bool(self.choices) and self.items is not None

    @property
    def labelled(self) -> bool:
        """True if pydantic's error locations have the name of the choice between this key and the keys below it."""
        if self.section is not None and self.scalar:
            return True
        return bool(self.choices) or (bool(self.words) and (self.section is not None or self.items is not None))

    def option(self, label: str) -> "KeyType":
        """Return the type of one choice."""
        if self.grouped and label in (ONE, GROUPS):
            one = replace(self, items=None, container="")
            return one if label == ONE else KeyType(items=self.items, container="object")
        if self.items is not None:
            return KeyType(words=self.words) if label == WORD else replace(self, words=())
        if label == NUMBER:
            return KeyType(scalar=self.scalar)
        chosen = dict(self.choices).get(label, self.section)
        return KeyType(section=chosen) if label != "none" else KeyType(words=self.words)


ONE, GROUPS = "one", "groups"
"""The names that pydantic puts before a choice that may also be an object of choices."""
NUMBER = "number"
"""The name that pydantic puts before a number that may also be an object."""
WORD, OBJECT = "word", "object"
"""The names that pydantic puts before a value that is a word or an object with free keys."""
_SCALARS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def key_type_of(hint: Any) -> KeyType:
    """Return the type that an annotation of the settings stands for."""
    if hint == Span:
        return KeyType(scalar="a training duration such as 5%, 500 steps or 2 epochs")
    if hint == Interval:
        return KeyType(scalar="a training duration or a length of time, such as 500 steps or 10 min")
    if hint == Epochs:
        return KeyType(scalar="a whole number of epochs such as 5 epochs")
    if hint == Time:
        return KeyType(scalar="a length of time such as 10 min")
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(key_type_of(arguments[0]), arguments[1:])
    if origin in (Union, types.UnionType):
        return _union([key_type_of(each) for each in arguments if each is not type(None)])
    if origin is Literal:
        return KeyType(words=arguments)
    if origin is tuple:
        return KeyType(items=arguments[0], container="list")
    if origin is dict:
        return KeyType(items=arguments[1], container="object")
    if isinstance(hint, type) and issubclass(hint, Section):
        return KeyType(section=hint)
    return KeyType(scalar=_SCALARS.get(hint, ""))


def _annotated(inner: KeyType, metadata: tuple[Any, ...]) -> KeyType:
    changes: dict[str, Any] = {}
    for each in metadata:
        if isinstance(each, Shorthand):
            changes["short"] = each.key
        if isinstance(each, FieldInfo) and isinstance(each.discriminator, str):
            changes["tag"] = each.discriminator
        if isinstance(each, Discriminator) and isinstance(each.discriminator, str):
            changes["tag"] = each.discriminator
    return KeyType(**{**inner.__dict__, **changes})


def _union(members: list[KeyType]) -> KeyType:
    if len(members) == 1:
        return members[0]
    chosen = [member for member in members if member.choices]
    free = [member for member in members if member.container == "object"]
    if chosen and free:
        return replace(chosen[0], items=free[0].items, container="object")
    sections = [member.section for member in members if member.section]
    words = tuple(word for member in members for word in member.words)
    if free and words:
        return replace(free[0], words=words)
    if len(sections) == 1:
        scalar = "".join(member.scalar for member in members)
        return KeyType(section=sections[0], words=words, scalar=scalar)
    if not sections and not words and not free:
        return KeyType(scalar=" or ".join(member.scalar for member in members))
    return KeyType(choices=tuple((tag_value(section), section) for section in sections), words=words)


def tag_value(section: type[Section]) -> str:
    """Return the tag of a choice: the only value of its first field."""
    hint = get_type_hints(section, include_extras=True)[next(iter(section.model_fields))]
    return str(get_args(hint)[0])


@cache
def keys_of(section: type[Section]) -> dict[str, KeyType]:
    """Return the keys of a section with their types, named as in a job file, in the order of the fields."""
    hints = get_type_hints(section, include_extras=True)
    return {info.alias or name: key_type_of(hints[name]) for name, info in section.model_fields.items()}


ROOTS: tuple[type[Section], ...] = (Job, CodeJob)
"""The kinds of job: with a task, and with an entrypoint."""


def walk(root: type[Section] = Job) -> Iterator[tuple[str, str]]:
    """Yield every dotted path of a kind of job with the choice that it belongs to; '' for keys outside of choices."""
    yield from _walk(KeyType(section=root), "", "")


def _walk(key_type: KeyType, path: str, option: str) -> Iterator[tuple[str, str]]:
    for section, label in _sections(key_type, option):
        for key, below in keys_of(section).items():
            below_path = f"{path}.{key}" if path else key
            yield below_path, label
            yield from _walk(below, below_path, "")


def _sections(key_type: KeyType, option: str) -> list[tuple[type[Section], str]]:
    chosen = [(section, label) for label, section in key_type.choices]
    return [(key_type.section, option), *chosen] if key_type.section else chosen


@dataclass(frozen=True)
class ErrorLocation:
    """The key that a pydantic error is about."""

    path: tuple[str, ...]
    option: str
    """The choice that contains the last key, such as `cnn`; '' outside of choices."""
    parent: KeyType | None
    """Type of the object or list that contains the last key."""
    key_type: KeyType
    """Type of the last key; empty for an unknown key."""
    root: type[Section] = Job
    """The kind of job."""

    @property
    def dotted(self) -> str:
        """The dotted path, as shown in messages."""
        return ".".join(self.path)


def locate_error(location: tuple[int | str, ...], root: type[Section] = Job) -> ErrorLocation:
    """Return the key of a pydantic error; pydantic's location also contains names of choices, which are not keys."""
    path: list[str] = []
    option, parent, key_type = "", None, KeyType(section=root)
    label = ""
    labelled = False
    for part in location:
        if part == "[key]" and not key_type.section and not key_type.items:
            break  # the error is about the key itself
        if key_type.labelled and not labelled:
            label = "" if part in {"section", "none", NUMBER, ONE, GROUPS, WORD, OBJECT} else str(part)
            labelled = not (key_type.grouped and part == ONE)  # then the name of the choice follows
            key_type = key_type.option(str(part))
            continue
        path.append(str(part))
        option, parent, label = label, key_type, ""
        labelled = False
        if key_type.section:
            key_type = keys_of(key_type.section).get(str(part), KeyType())
        else:
            key_type = key_type_of(key_type.items) if key_type.items else KeyType()
    return ErrorLocation(tuple(path), option, parent, key_type, root)
