"""Expressions over the job's dotted paths, for conditions and derived values of a sweep; evaluated by simpleeval."""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

LENGTH_LIMIT = 1000
POWER_LIMIT = 64
"""Maximum exponent; without a limit a short expression could run for hours."""

FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs, "round": round, "len": len, "int": int}
WORDS = {"true": True, "false": False, "null": None}
"""YAML's words for values that Python spells differently."""

_KNOWN_NODES: tuple[type[ast.AST], ...] = (
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub, ast.Mult,
    ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In,
    ast.NotIn, ast.IfExp, ast.Constant, ast.List, ast.Tuple, ast.Subscript, ast.Name, ast.Load,
)  # fmt: skip
_QUOTED_OR_CLASS = re.compile(r"""('[^']*'|"[^"]*")|\.class\b""")
_CLASS = ".class_"
"""Replacement of `.class`, since `class` is a keyword in Python."""


class Expression:
    """A parsed and checked expression; `names` are the dotted paths in it, in order."""

    def __init__(self, text: str) -> None:
        """Parse and check the text.

        Raises:
            ValueError: the text is not an expression; the message has the position, from 1.

        """
        self.text = text
        self._tree = _Paths().visit(_parsed(text))
        names = [node.id for node in _nodes(self._tree) if isinstance(node, ast.Name)]
        self.names = tuple(dict.fromkeys(name for name in names if name not in WORDS))
        for node in _nodes(self._tree):
            _check(node, text)

    def value(self, value_of: Callable[[str], Any]) -> Any:
        """Return the value of the expression; `value_of` returns the value of a dotted path, or None.

        Raises:
            ValueError: the expression cannot be computed with these values.

        """
        # imported late: only sweeps with expressions wait for it
        from simpleeval import DEFAULT_OPERATORS, EvalWithCompoundTypes, InvalidExpression

        names = _Values(value_of)
        operators = {**DEFAULT_OPERATORS, ast.Pow: _power, ast.Mod: _remainder}
        evaluator = EvalWithCompoundTypes(operators, dict(FUNCTIONS), names)
        try:
            return evaluator.eval(self.text, self._tree)
        except (TypeError, ValueError, ArithmeticError, IndexError, InvalidExpression) as error:
            empty = [name for name in names.used if names.used[name] is None]
            reason = f"{empty[0]} has no value" if empty else _reason(error)
            raise ValueError(f"'{self.text}' cannot be computed: {reason}") from error


class _Values(Mapping[str, Any]):
    """Looks paths up on demand; `used` holds those that were needed, for the error message."""

    def __init__(self, value_of: Callable[[str], Any]) -> None:
        self._value_of = value_of
        self.used: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name in WORDS:
            return WORDS[name]
        self.used[name] = self._value_of(name)
        return self.used[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.used)

    def __len__(self) -> int:
        return len(self.used)


class _Paths(ast.NodeTransformer):
    """Turns each dotted path into a single name, so that no attribute is ever accessed."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        inner = self.visit(node.value)
        if isinstance(inner, ast.Name):
            key = "class" if node.attr == _CLASS[1:] else node.attr
            return ast.copy_location(ast.Name(f"{inner.id}.{key}", ast.Load()), node)
        node.value = inner
        return node


def _parsed(text: str) -> ast.expr:
    if len(text) > LENGTH_LIMIT:
        raise ValueError(f"is longer than {LENGTH_LIMIT} characters")
    python = _QUOTED_OR_CLASS.sub(lambda found: found[1] or _CLASS, text)
    stripped = python.lstrip()
    try:
        return ast.parse(stripped, mode="eval").body
    except SyntaxError as error:
        end = error.offset - 1 if error.offset else len(stripped)  # 0: the text is incomplete
        before = stripped[:end].replace(_CLASS, ".class")
        place = len(before) + len(python) - len(stripped) + 1
        cure = "; compare with '=='" if re.search(r"[^=!<>]=[^=]", text) else ""
        raise ValueError(
            f"is not an expression: see character {place}{cure} (example: training.batch_size <= 128)"
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError("is not an expression (example: training.batch_size <= 128)") from error


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node except the names of called functions."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(tree, ast.Call) and child is tree.func):
            yield from _nodes(child)


def _check(node: ast.AST, text: str) -> None:
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords:
            called = ast.unparse(node.func).replace(_CLASS, ".class")
            raise ValueError(f"'{called}' is not a function here; known are {', '.join(FUNCTIONS)}")
    elif not isinstance(node, _KNOWN_NODES):
        raise ValueError(
            f"contains '{ast.unparse(node)}', which is not supported: use paths of the job, values, and, or, not, "
            "comparisons and arithmetic"
        )


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > POWER_LIMIT:
        raise ValueError(f"an exponent is above {POWER_LIMIT}")
    return float(base**exponent) if isinstance(base, float) or exponent < 0 else base**exponent


def _remainder(left: float, right: float) -> float:
    if isinstance(left, str):  # Python would format the string
        raise TypeError
    return left % right


def _reason(error: Exception) -> str:
    if isinstance(error, ZeroDivisionError):
        return "a division by zero"
    if isinstance(error, TypeError):
        return "it combines numbers, texts or lists that do not fit together"
    if isinstance(error, IndexError):
        return "a list is shorter"
    return str(error) if isinstance(error, ValueError) else "the result is too large"
