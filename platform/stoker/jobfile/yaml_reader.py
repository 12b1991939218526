"""Reads YAML 1.2 (core schema) into plain values, with the position of each."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import yaml

from stoker.errors import JobError, Problem
from stoker.jobfile.yaml_errors import syntax_problem

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]

SIZE_LIMIT = 256 * 1024
DEPTH_LIMIT = 64
NODE_LIMIT = 10_000
"""Maximum number of values in a file; an alias counts as all the values that it stands for."""
SHOWN_CHARACTERS = 40
"""Maximum length of a value in a message."""
TAG = "tag:yaml.org,2002:"
"""Prefix of the tags of YAML's own types."""

CORE_TAGS = {
    "null": (r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    "bool": (r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    "int": (r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    "float": (
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
        list("-+0123456789."),
    ),
}
"""Pattern of each type's unquoted words (yaml.org/spec/1.2.2, 10.3.2), and the characters that they may begin with."""


@dataclass(frozen=True)
class Mark:
    """A position in a file; lines and columns start at 1."""

    file: str
    line: int
    column: int


@dataclass
class Marks:
    """Positions of the keys and values of a document, by dotted path; the items of a list are `a.b.0`."""

    keys: dict[str, Mark] = field(default_factory=dict)
    values: dict[str, Mark] = field(default_factory=dict)

    def place(self, path: str) -> Mark | None:
        """Return the position to show for `path`: that of its value if it is on the key's line, else of its key."""
        key, value = self.keys.get(path), self.values.get(path)
        return value if value and (key is None or key.line == value.line) else key

    def nearest(self, path: str) -> Mark | None:
        """Return the position of a key, or of the nearest enclosing object if the file does not have the key."""
        found = self.place(path)
        above = path
        while found is None and above:
            above = above.rpartition(".")[0]
            has_keys = any(key.startswith(f"{above}.") for key in self.keys)
            found = self.keys.get(above) if has_keys else self.place(above)
        return found


@dataclass
class Document:
    """A YAML file as plain values; `problems` are the mistakes after which reading could continue."""

    value: dict[str, Value]
    marks: Marks
    problems: list[Problem]


def decode(data: bytes, file: str) -> str:
    """Return the bytes of a file as text.

    Raises:
        JobError: the file is not UTF-8, or too large.

    """
    _check_size(len(data), file)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _failed("the text is UTF-16; save the file as UTF-8", Mark(file, 1, 1))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        mark = Mark(file, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise _failed(f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8", mark) from error


def read_document(text: str, file: str) -> Document:
    """Return the document of a YAML text.

    Raises:
        JobError: the text is not YAML, not a single object, or exceeds the limits.

    """
    node = _compose(text, file)
    if node is None:
        raise _failed("the file is empty; a job needs at least 'task: ...' and 'dataset: ...'", Mark(file, 1, 1))
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        mark = Mark(file, node.start_mark.line + 1, node.start_mark.column + 1)
        raise _failed(f"expected keys such as 'task: image-classification', got {kind}", mark)
    reader = _Constructor(file)
    value = reader.mapping(node, "", 1)
    return Document(value, reader.marks, reader.problems)


def read_value(text: str, file: str) -> tuple[Value, list[Problem]]:
    """Return a single value read by the same rules, and the mistakes after which reading could continue.

    Raises:
        JobError: as for `read_document`.

    """
    node = _compose(text, file)
    if node is None:
        return None, []
    reader = _Constructor(file)
    return reader.value(node, "", 1), reader.problems


class CoreResolver(yaml.resolver.BaseResolver):
    """Resolves the type of an unquoted word by YAML 1.2's core schema."""


for _tag, (_pattern, _first) in CORE_TAGS.items():
    CoreResolver.add_implicit_resolver(f"{TAG}{_tag}", re.compile(rf"{_pattern}\Z"), _first)


class _Composer(CoreResolver, yaml.SafeLoader):
    """Builds nodes with positions; checks the limits while reading, so that a malicious file costs nothing."""

    yaml_implicit_resolvers = CoreResolver.yaml_implicit_resolvers
    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        self.nodes += 1
        if self.depth > DEPTH_LIMIT or self.nodes > 2 * NODE_LIMIT:
            limit = f"{DEPTH_LIMIT} levels deep" if self.depth > DEPTH_LIMIT else f"{NODE_LIMIT:,} values"
            here = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # missing in the stubs
            raise yaml.MarkedYAMLError(problem=f"limit: more than {limit}", problem_mark=here)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(text: str, file: str) -> yaml.Node | None:
    _check_size(len(text), file)
    try:
        return _Composer(text.removeprefix("\ufeff")).get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: escapes above U+10FFFF
        raise JobError([syntax_problem(error, text, file)], file) from error


def _check_size(size: int, file: str) -> None:
    if size > SIZE_LIMIT:
        raise _failed(f"larger than {SIZE_LIMIT // 1024} KiB, the limit for a job", Mark(file, 1, 1))


def shortened(text: str) -> str:
    """Return a text cut to the length that messages show."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _failed(message: str, mark: Mark) -> JobError:
    return JobError([Problem("", message, mark.line, mark.column, mark.file)], mark.file)


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _int(text: str) -> int:
    return int(text, 0 if text[:2] in {"0o", "0x"} else 10)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, tuple[Callable[[str], Value], str]] = {
    f"{TAG}null": (lambda _text: None, "nothing"),
    f"{TAG}bool": (_bool, "true or false"),
    f"{TAG}int": (_int, "a whole number"),
    f"{TAG}float": (_float, "a number"),
    f"{TAG}str": (str, "text"),
}


class _Constructor:
    """Builds values and marks from nodes, and collects mistakes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.marks = Marks()
        self.problems: list[Problem] = []
        self.count = 0
        self.open: set[int] = set()

    def value(self, node: yaml.Node, path: str, depth: int) -> Value:
        mark = self.mark(node)
        self.marks.values.setdefault(path, mark)
        self.count += 1
        if self.count > NODE_LIMIT or depth > DEPTH_LIMIT:
            limit = f"{NODE_LIMIT:,} values" if self.count > NODE_LIMIT else f"{DEPTH_LIMIT} levels deep"
            raise _failed(f"more than {limit}, counting what each alias stands for", mark)
        if id(node) in self.open:
            raise _failed("an alias cannot be used inside the value that it stands for", mark)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == f"{TAG}map":
                return self.mapping(node, path, depth)
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{TAG}seq":
                return [self.value(item, f"{path}.{i}", depth + 1) for i, item in enumerate(node.value)]
            return self.scalar(node, path)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Value]:
        result: dict[str, Value] = {}
        first: dict[str, Mark] = {}
        for key_node, value_node in node.value:
            mark = self.mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == f"{TAG}null":
                self.problem(path, "a key must be text", mark)
                continue
            key = key_node.value
            key_path = f"{path}.{key}" if path else key
            if key == "<<":
                self.problem(key_path, "merge keys are not supported; write the keys out, or use 'extends'", mark)
            elif key in result:
                earlier = first[key]
                self.problem(key_path, f"duplicate key '{key}': lines {earlier.line} and {mark.line}", mark)
            else:
                first[key] = mark
                self.marks.keys.setdefault(key_path, mark)
                result[key] = self.value(value_node, key_path, depth + 1)
        return result

    def scalar(self, node: yaml.Node, path: str) -> Value:
        convert, words = _SCALARS.get(node.tag, (None, ""))
        if convert is None or not isinstance(node, yaml.ScalarNode):
            tag = node.tag.replace(TAG, "!!")
            self.problem(path, f"the tag '{tag}' is not supported; write a plain value", self.mark(node))
            return None
        try:
            return convert(node.value)
        except (ValueError, KeyError):
            self.problem(path, f"'{shortened(node.value)}' is not {words}", self.mark(node))
            return None

    def mark(self, node: yaml.Node) -> Mark:
        return Mark(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def problem(self, path: str, message: str, mark: Mark) -> None:
        self.problems.append(Problem(path, message, mark.line, mark.column, mark.file))
