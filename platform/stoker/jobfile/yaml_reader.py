"""Reads YAML 1.2 (core schema) into plain values, and remembers where each of them stands."""

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
"""Values of a file, with each alias counted as what it stands for."""

CORE_TAGS = {
    "null": (r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    "bool": (r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    "int": (r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
    "float": (
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
        list("-+0123456789."),
    ),
}
"""What a word without quotes means (yaml.org/spec/1.2.2, 10.3.2), with the characters that it may begin with."""


@dataclass(frozen=True)
class Mark:
    """A place in a file; line and column are 1-based."""

    file: str
    line: int
    column: int


@dataclass
class Marks:
    """Where the keys and the values of a document stand, by dotted path; the items of a list are `a.b.0`."""

    keys: dict[str, Mark] = field(default_factory=dict)
    values: dict[str, Mark] = field(default_factory=dict)

    def place(self, path: str) -> Mark | None:
        """Return where a reader looks for `path`: its value where that stands in the key's own line, else its key."""
        key, value = self.keys.get(path), self.values.get(path)
        return value if value and (key is None or key.line == value.line) else key

    def nearest(self, path: str) -> Mark | None:
        """Return the key's own place if it stands in the file, else that of the nearest object around it."""
        found = self.place(path)
        above = path
        while found is None and above:
            above = above.rpartition(".")[0]
            holds_keys = any(key.startswith(f"{above}.") for key in self.keys)
            found = self.keys.get(above) if holds_keys else self.place(above)
        return found


@dataclass
class Document:
    """A YAML file as plain values; `problems` are the mistakes that did not stop the reading."""

    value: dict[str, Value]
    marks: Marks
    problems: list[Problem]


def decode(data: bytes, file: str) -> str:
    """Turn the bytes of a file into text.

    Raises:
        JobError: not UTF-8, or larger than a job may be.

    """
    if len(data) > SIZE_LIMIT:
        raise _failed(f"larger than {SIZE_LIMIT // 1024} KiB, which no job needs", Mark(file, 1, 1))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _failed("the text is UTF-16; save the file as UTF-8", Mark(file, 1, 1))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        mark = Mark(file, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise _failed(f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8", mark) from error


def read_document(text: str, file: str) -> Document:
    """Read an object from YAML text.

    Raises:
        JobError: the text is not YAML, not one object, or beyond the limits.

    """
    node = _compose(text, file)
    if node is None:
        raise _failed("the file is empty; two lines make a job: 'task: ...' and 'dataset: ...'", Mark(file, 1, 1))
    if not isinstance(node, yaml.MappingNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        mark = Mark(file, node.start_mark.line + 1, node.start_mark.column + 1)
        raise _failed(f"expected keys such as 'task: image-classification', got {kind}", mark)
    reader = _Construction(file)
    value = reader.mapping(node, "", 1)
    return Document(value, reader.marks, reader.problems)


def read_value(text: str, file: str) -> tuple[Value, list[Problem]]:
    """Read a single value by the same rules, with the mistakes that did not stop the reading.

    Raises:
        JobError: as for `read_document`.

    """
    node = _compose(text, file)
    if node is None:
        return None, []
    reader = _Construction(file)
    return reader.value(node, "", 1), reader.problems


class CoreResolver(yaml.resolver.BaseResolver):
    """Decides what a word without quotes means."""


for _tag, (_pattern, _first) in CORE_TAGS.items():
    CoreResolver.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"{_pattern}\Z"), _first)


class _Composer(CoreResolver, yaml.SafeLoader):
    """Builds nodes with marks; stops at the limits while it reads, before a bad file costs anything."""

    yaml_implicit_resolvers = CoreResolver.yaml_implicit_resolvers
    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        self.nodes += 1
        if self.depth > DEPTH_LIMIT or self.nodes > 2 * NODE_LIMIT:
            limit = f"{DEPTH_LIMIT} levels deep" if self.depth > DEPTH_LIMIT else f"{NODE_LIMIT:,} values"
            here = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave this one out
            raise yaml.MarkedYAMLError(problem=f"limit: more than {limit}", problem_mark=here)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _compose(text: str, file: str) -> yaml.Node | None:
    if len(text) > SIZE_LIMIT:
        raise _failed(f"larger than {SIZE_LIMIT // 1024} KiB, which no job needs", Mark(file, 1, 1))
    try:
        return _Composer(text.removeprefix("\ufeff")).get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: escapes beyond Unicode
        raise JobError([syntax_problem(error, text, file)], file) from error


def _failed(message: str, mark: Mark) -> JobError:
    return JobError([Problem("", message, mark.line, mark.column, mark.file)], mark.file)


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _whole(text: str) -> int:
    return int(text, 0 if text[:2] in {"0o", "0x"} else 10)


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, tuple[Callable[[str], Value], str]] = {
    "tag:yaml.org,2002:null": (lambda _text: None, "nothing"),
    "tag:yaml.org,2002:bool": (_truth, "true or false"),
    "tag:yaml.org,2002:int": (_whole, "a whole number"),
    "tag:yaml.org,2002:float": (_number, "a number"),
    "tag:yaml.org,2002:str": (str, "text"),
}


class _Construction:
    """Turns nodes into values and marks, and collects what is wrong on the way."""

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
            raise _failed("an alias stands inside of what it stands for", mark)
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
                return self.mapping(node, path, depth)
            if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
                return [self.value(item, f"{path}.{i}", depth + 1) for i, item in enumerate(node.value)]
            return self.scalar(node, path)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Value]:
        result: dict[str, Value] = {}
        first: dict[str, Mark] = {}
        for key_node, value_node in node.value:
            mark = self.mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:null":
                self.problem(path, "a key must be text", mark)
                continue
            key = key_node.value
            key_path = f"{path}.{key}" if path else key
            if key == "<<":
                self.problem(key_path, "merge keys are not known; write the keys out, or use 'extends'", mark)
            elif key in result:
                earlier = first[key]
                self.problem(key_path, f"'{key}' stands twice: in line {earlier.line} and in line {mark.line}", mark)
            else:
                first[key] = mark
                self.marks.keys.setdefault(key_path, mark)
                result[key] = self.value(value_node, key_path, depth + 1)
        return result

    def scalar(self, node: yaml.Node, path: str) -> Value:
        convert, words = _SCALARS.get(node.tag, (None, ""))
        if convert is None or not isinstance(node, yaml.ScalarNode):
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self.problem(path, f"the tag '{tag}' is not known; write a plain value", self.mark(node))
            return None
        try:
            return convert(node.value)
        except (ValueError, KeyError):
            shown = node.value if len(node.value) <= 40 else f"{node.value[:37]}..."
            self.problem(path, f"'{shown}' is not {words}", self.mark(node))
            return None

    def mark(self, node: yaml.Node) -> Mark:
        return Mark(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def problem(self, path: str, message: str, mark: Mark) -> None:
        self.problems.append(Problem(path, message, mark.line, mark.column, mark.file))
