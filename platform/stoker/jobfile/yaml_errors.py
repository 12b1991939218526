"""Messages for PyYAML's syntax errors, with line and column."""

import yaml

from stoker.errors import Problem

SECOND_DOCUMENT = "one job per file: a second document begins here"
OPEN_QUOTE = "the quote that opens here is never closed"
TAB = "a tab cannot begin a value or indent a line; use spaces"

_MESSAGES: tuple[tuple[str, str], ...] = (
    # part of PyYAML's message, and the message for the author of the file; the first match is used
    ("limit: ", "{rest}"),
    ("found character '\\t'", TAB),
    ("found a tab", TAB),
    ("that cannot start any token", "{character} cannot begin a value; put the text in quotes"),
    ("found another document", SECOND_DOCUMENT),
    ("expected a single document", SECOND_DOCUMENT),
    ("mapping values are not allowed", "a second ':' in one value, or a wrong indentation; put such text in quotes"),
    ("mapping keys are not allowed", "a key is not allowed here; indent it like its neighbours"),
    ("sequence entries are not allowed", "a list item '-' is not allowed here; begin it on a line of its own"),
    ("could not find expected ':'", "expected 'key: value'"),
    ("expected '<document start>'", SECOND_DOCUMENT),
    ("unexpected end of stream", OPEN_QUOTE),
    ("unexpected document separator", OPEN_QUOTE),
    ("unknown escape character", "unknown escape in double quotes; use single quotes"),
    ("hexadecimal numbers", "incomplete escape in double quotes; use single quotes"),
    ("expected ',' or ']'", "the list '[' that opens here is not closed, or a ',' is missing"),
    ("expected ',' or '}'", "the object '{{' that opens here is not closed, or a ',' is missing"),
    ("expected <block end>", "indented differently from the lines above it"),
    ("found undefined alias", "this alias has no anchor; put text that begins with '*' in quotes"),
    ("found duplicate anchor", "this anchor is defined twice"),
    ("expected alphabetic or numeric character", "'*' and '&' are special in YAML; put the text in quotes"),
    ("special characters are not allowed", "a control character, which YAML does not allow"),
)
_OPENINGS = ("could not find expected", "unexpected end of stream", "unexpected document separator", "expected ',' or")
_FALLBACK = "not YAML; check indentation, quotes and brackets here"


def syntax_problem(error: Exception, text: str, file: str) -> Problem:
    """Return the problem for an error of PyYAML; its own text is not shown."""
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        message = f"the character {_code(error.character)} is not allowed in a job"
        return Problem("", message, before.count("\n") + 1, len(before) - before.rfind("\n"), file)
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem("", _FALLBACK, 1, 1, file)
    original = error.problem or error.context or ""
    if original.startswith("but found another document"):
        original = "found another document"
    mark = error.problem_mark
    if error.context_mark is not None and any(part in original for part in _OPENINGS):
        mark = error.context_mark
    template = next((template for part, template in _MESSAGES if part in original), _FALLBACK)
    message = template.format(rest=original.removeprefix("limit: "), character=_quoted(original))
    return Problem("", message, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, file)


def _quoted(text: str) -> str:
    start, end = text.find("'"), text.find("'", text.find("'") + 1)
    return text[start : end + 1] if 0 <= start < end else "this character"


def _code(character: str | int) -> str:
    return f"U+{ord(character):04X}" if isinstance(character, str) else f"U+{character:04X}"
