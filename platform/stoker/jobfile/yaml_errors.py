"""Says in plain words, with line and column, why a text is not YAML."""

import yaml

from stoker.errors import Problem

_WORDS: tuple[tuple[str, str], ...] = (
    # what PyYAML's message holds, and what the author of a file needs to know; the first that fits is taken
    ("limit: ", "{rest}"),
    ("found character '\\t'", "a tab cannot begin a value or indent a line; use spaces"),
    ("found a tab", "a tab cannot begin a value or indent a line; use spaces"),
    ("that cannot start any token", "{character} cannot begin a value; put the text in quotes"),
    ("found another document", "one job a file: a second document begins here"),
    ("expected a single document", "one job a file: a second document begins here"),
    ("mapping values are not allowed", "a second ':' in one value, or a wrong indentation; put such text in quotes"),
    ("mapping keys are not allowed", "a key cannot stand here; indent it like its neighbours"),
    ("sequence entries are not allowed", "a list item '-' cannot stand here; begin it on a line of its own"),
    ("could not find expected ':'", "expected 'key: value'"),
    ("expected '<document start>'", "one job a file: a second document begins here"),
    ("unexpected end of stream", "the quote that opens here is never closed"),
    ("unexpected document separator", "the quote that opens here is never closed"),
    ("unknown escape character", "unknown escape in double quotes; use single quotes"),
    ("hexadecimal numbers", "incomplete escape in double quotes; use single quotes"),
    ("expected ',' or ']'", "the list '[' that opens here is not closed, or a ',' is missing"),
    ("expected ',' or '}'", "the object '{{' that opens here is not closed, or a ',' is missing"),
    ("expected <block end>", "indented differently from the lines above it"),
    ("found undefined alias", "this alias has no anchor; put text that begins with '*' in quotes"),
    ("found duplicate anchor", "the same anchor stands twice"),
    ("expected alphabetic or numeric character", "'*' and '&' have a meaning in YAML; put the text in quotes"),
    ("special characters are not allowed", "a character that no text file should hold"),
)
_OPENINGS = ("could not find expected", "unexpected end of stream", "unexpected document separator", "expected ',' or")
_REST = "not YAML; check indentation, quotes and brackets here"


def syntax_problem(error: Exception, text: str, file: str) -> Problem:
    """Translate an error of PyYAML; nothing of its own text is shown."""
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        message = f"the character {_code(error.character)} cannot stand in a job"
        return Problem("", message, before.count("\n") + 1, len(before) - before.rfind("\n"), file)
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem("", _REST, 1, 1, file)
    said = error.problem or error.context or ""
    if said.startswith("but found another document"):
        said = "found another document"
    mark = error.problem_mark
    if error.context_mark is not None and any(part in said for part in _OPENINGS):
        mark = error.context_mark
    words = next((words for part, words in _WORDS if part in said), _REST)
    message = words.format(rest=said.removeprefix("limit: "), character=_quoted(said))
    return Problem("", message, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, file)


def _quoted(said: str) -> str:
    start, end = said.find("'"), said.find("'", said.find("'") + 1)
    return said[start : end + 1] if 0 <= start < end else "this character"


def _code(character: str | int) -> str:
    return f"U+{ord(character):04X}" if isinstance(character, str) else f"U+{character:04X}"
