"""Messages for pydantic's errors in the words of the job language; one function for each type of error."""

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from stoker.errors import Problem
from stoker.job.job import Job
from stoker.job.own_code import CodeJob
from stoker.job.section import Section
from stoker.jobfile.documentation import KEY_EXAMPLES, field_documents
from stoker.jobfile.language import ErrorLocation, KeyType, keys_of, locate_error, walk
from stoker.jobfile.suggestion import closest, did_you_mean
from stoker.jobfile.yaml_reader import SHOWN_CHARACTERS, Marks, shortened

EXAMPLES = {"a number": "3e-4", "a whole number": "10", "text": "my-text", "true or false": "true"}


def problems_of(error: ValidationError, marks: Marks, root: type[Section] = Job) -> list[Problem]:
    """Return a problem for every error of a job; the position of an unknown key is the key, not its value.

    Args:
        error: of the validation.
        marks: of the file.
        root: the kind of job.

    """
    found: dict[str, Problem] = {}
    for each in error.errors(include_url=False):
        location = locate_error(each["loc"], root)
        if each["type"] == "missing" and isinstance(each["loc"][-1], int):
            location = locate_error(each["loc"][:-1], root)
            message = f"expected {int(each['loc'][-1]) + 1} entries, got {each['loc'][-1]}"
        else:
            message = _MESSAGES.get(each["type"], _does_not_fit)(location, each["input"], each.get("ctx", {}))
        path = _with_tag(location, each)
        if each["type"] == "too_short" and any(known.startswith(f"{path}.") for known in found):
            continue  # a consequence of the mistakes in earlier entries
        mark = marks.keys.get(path) if each["type"] == "extra_forbidden" else None
        found.setdefault(
            path, Problem(path, message, mark.line, mark.column, mark.file) if mark else Problem(path, message)
        )
    return list(found.values())


def show(value: Any) -> str:
    """Return a value as shown in messages."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{shortened(value)}'"
    if isinstance(value, (int, float)):
        return shortened(_number(value))
    return "a list" if isinstance(value, (list, tuple)) else "an object"


def _number(value: int | float) -> str:
    if isinstance(value, int):
        return str(value) if abs(value) < 10**SHOWN_CHARACTERS else "a huge number"
    return f"{value:g}" if value - value == 0 else f".{value}".replace(".-", "-.")


def _with_tag(location: ErrorLocation, error: Any) -> str:
    wrong_tag = error["type"] == "union_tag_not_found" and isinstance(error["input"], dict)
    return ".".join((*location.path, location.key_type.tag)) if wrong_tag else location.dotted


def _unknown_key(location: ErrorLocation, _value: Any, _context: Any) -> str:
    key = location.path[-1]
    whose = f"unknown key for {location.option}" if location.option else "unknown key"
    section = location.parent.section if location.parent else None
    siblings = list(keys_of(section)) if section else []
    if len(location.path) == 1 and (found := _of_other_kind(key, location.root, siblings)):
        return found
    near = closest(key, siblings)
    if near:
        return f"{whose}; did you mean '{near}'?"
    elsewhere: dict[str, list[str]] = {}
    for path, option in walk(location.root):
        if path.rpartition(".")[2] == key:
            elsewhere.setdefault(path, []).append(option)
        elif path == key:
            return f"{whose}; write '{key.rpartition('.')[2]}' inside '{key.rpartition('.')[0]}'"
    if location.dotted in elsewhere:
        return f"{whose}; '{key}' belongs to {' and '.join(elsewhere[location.dotted])}"
    if elsewhere:
        return f"{whose}; did you mean {' or '.join(repr(path) for path in list(elsewhere)[:2])}?"
    return f"{whose}; the keys here are {', '.join(siblings)}"


def _of_other_kind(key: str, root: type[Section], siblings: list[str]) -> str:
    """Return what to do about a key, if it belongs to the other kind of job or is a misspelt one of it."""
    if root is CodeJob:
        return f"a job with an entrypoint has no '{key}': its own code does it" if key in keys_of(Job) else ""
    others = [each for each in keys_of(CodeJob) if each not in siblings]
    if key in others:
        return f"'{key}' belongs to a job that has an entrypoint in place of a task"
    near = closest(key, [*siblings, *others])
    return f"unknown key; did you mean '{near}'?" if near in others else ""


def _required(location: ErrorLocation, _value: Any, _context: Any) -> str:
    key = location.path[-1]
    section = location.parent.section if location.parent else None
    text = field_documents(section).get(key, "") if section else ""
    first = text.partition(":")[0].partition(";")[0].rstrip(".")
    example = KEY_EXAMPLES.get(location.dotted) or _example(location.key_type)
    return f"required: {first[:1].lower()}{first[1:]} (example: {key}: {example})"


def _example(key_type: KeyType) -> str:
    if key_type.choices:
        return key_type.choices[0][0]
    return str(key_type.words[-1]) if key_type.words else "digits"


def _tag_required(location: ErrorLocation, value: Any, _context: Any) -> str:
    if not isinstance(value, dict):
        return _object(location, value, _context)
    labels = [label for label, _ in location.key_type.choices]
    return f"required: one of {', '.join(labels)} (example: {location.key_type.tag}: {labels[0]})"


def _tag_unknown(location: ErrorLocation, value: Any, _context: Any) -> str:
    return _not_one_of(value.get(location.key_type.tag), [label for label, _ in location.key_type.choices])


def _literal(location: ErrorLocation, value: Any, _context: Any) -> str:
    if location.parent and location.parent.section:
        whole = keys_of(location.parent.section)[location.path[-1]]
        if whole.section or whole.container == "object":
            (word,) = whole.words
            return f"{show(value)} is neither '{word}' nor an object{did_you_mean(str(value), [word])}"
    return _not_one_of(value, location.key_type.words)


def _not_one_of(value: Any, known: Any) -> str:
    words = [str(word) for word in known]
    guess = did_you_mean(value, words) if isinstance(value, str) else ""
    return (
        f"{show(value)} is not one of {', '.join(words)}{guess}"
        if len(words) > 1
        else f"{show(value)} is not known; use {words[0]}"
    )


def _object(location: ErrorLocation, value: Any, _context: Any) -> str:
    short = f" or a word such as '{_example(location.key_type)}'" if location.key_type.short else ""
    return f"expected an object{short}, got {show(value)}"


def _list(_location: ErrorLocation, value: Any, _context: Any) -> str:
    return f"expected a list, got {show(value)} (example: [{show(value) if _plain(value) else 'a, b'}])"


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def _kind(words: str) -> Callable[[ErrorLocation, Any, Any], str]:
    def message(_location: ErrorLocation, value: Any, _context: Any) -> str:
        if isinstance(value, str):
            return f"{show(value)} is not {words} (example: {EXAMPLES[words]})"
        return f"expected {words}, got {show(value)}"

    return message


def _text(_location: ErrorLocation, value: Any, _context: Any) -> str:
    return f"expected text, got {show(value)}" + (
        "; put it in quotes" if not isinstance(value, (list, dict, type(None))) else ""
    )


def _bound(words: str, key: str) -> Callable[[ErrorLocation, Any, Any], str]:
    return lambda _location, value, context: f"{show(value)} {words} {_number(context[key])}"


def _length(words: str, key: str, unit: str) -> Callable[[ErrorLocation, Any, Any], str]:
    def message(_location: ErrorLocation, value: Any, context: Any) -> str:
        number = context[key]
        many = unit if number == 1 else {"entry": "entries"}.get(unit, f"{unit}s")
        return f"{words} {number} {many}, got {len(value) if value else 'none'}"

    return message


def _validator_message(_location: ErrorLocation, value: Any, context: Any) -> str:
    text = str(context["error"])
    return f"{show(value)} {text}" if text.startswith("is not ") else text


def _does_not_fit(_location: ErrorLocation, value: Any, _context: Any) -> str:
    return f"{show(value)} does not fit here"


_MESSAGES: dict[str, Callable[[ErrorLocation, Any, Any], str]] = {
    "extra_forbidden": _unknown_key,
    "missing": _required,
    "union_tag_not_found": _tag_required,
    "union_tag_invalid": _tag_unknown,
    "literal_error": _literal,
    "model_type": _object,
    "model_attributes_type": _object,
    "dict_type": _object,
    "tuple_type": _list,
    "int_type": _kind("a whole number"),
    "float_type": _kind("a number"),
    "bool_type": _kind("true or false"),
    "string_type": _text,
    "greater_than": _bound("is too small: more than", "gt"),
    "greater_than_equal": _bound("is too small: at least", "ge"),
    "less_than": _bound("is too large: less than", "lt"),
    "less_than_equal": _bound("is too large: at most", "le"),
    "finite_number": lambda _location, value, _context: f"{show(value)} is not a finite number (example: 3e-4)",
    "too_short": _length("expected at least", "min_length", "entry"),
    "too_long": _length("expected at most", "max_length", "entry"),
    "string_too_short": _length("expected at least", "min_length", "character"),
    "string_too_long": _length("expected at most", "max_length", "character"),
    "value_error": _validator_message,
}
