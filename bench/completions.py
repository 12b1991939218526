"""Source code: the share of a model's completions that Python can parse.

A prompt is the header of a function of the test part of the model's dataset, `def` to `:` with its docstring, if it
has one, behind what stands before it in its file. What the model writes behind it counts up to the first line that is
indented no further than the header, or, where no such line comes within so many tokens, up to its last whole line. A
completion parses if it has a statement, and header and completion together are accepted by `ast.parse`. What really
follows a header is counted in the same way beside it.
"""

import argparse
import ast
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stoker.datasets.columns import Windows
from stoker.datasets.tokens.tokenizer import END, PADDING
from stoker.inference.model import Model
from stoker.tasks.writing.settings import Writing
from stoker.training.preparation import prepare

BEFORE = 400
"""Characters of the file before a header that the model reads, from the beginning of a line."""


@dataclass(frozen=True)
class Function:
    """A function to complete."""

    before: str
    """What stands before it in the file."""
    header: str
    """Without the end of its last line."""
    body: str

    @property
    def prompt(self) -> str:
        """Return what the model continues."""
        return self.before + self.header

    @property
    def margin(self) -> int:
        """Return how far the header is indented."""
        return len(self.header) - len(self.header.lstrip())


def test_texts(model: Model) -> list[str]:
    """Return the texts of the test part."""
    parts = prepare(model.job).data.parts
    column = parts["test"].inputs[model.fields.text.name]
    assert isinstance(column, Windows)
    tokens = column.values[column.values != PADDING].numpy()
    borders = np.flatnonzero(tokens == END)
    decode = model.fields.text.tokenizer.decode
    return [decode([int(token) for token in each if token != END]) for each in np.split(tokens, borders)]


def functions(source: str) -> Iterator[Function]:
    """Yield each function of a source; nothing if it does not parse."""
    tree = parsed(source)
    if tree is None:
        return
    lines = source.splitlines(keepends=True)
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        documented = ast.get_docstring(node, clean=False) is not None
        rest = node.body[1:] if documented else node.body
        if not rest or rest[0].lineno == node.lineno:
            continue
        first = (node.body[0].end_lineno or 0) if documented else node.body[0].lineno - 1
        before = "".join(lines[: node.lineno - 1])
        near = before[-BEFORE:].partition("\n")[2] if len(before) > BEFORE else before
        header = "".join(lines[node.lineno - 1 : first]).rstrip("\n")
        yield Function(near, header, "\n" + "".join(lines[first : node.end_lineno]))


def parsed(source: str) -> ast.Module | None:
    """Return the syntax tree of a source; None if Python does not accept it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def behind(text: str, margin: int) -> int | None:
    """Return where the first line begins that is indented no further than a header; None if there is none yet."""
    place = 0
    for line in text.splitlines(keepends=True):
        inside = not line.strip() or line.lstrip()[0] in "#)]}" or len(line) - len(line.lstrip()) > margin
        if place and not inside and line.strip():
            return place
        place += len(line)
    return None


def parses(function: Function, body: str) -> bool:
    """Return whether Python accepts a function that has a statement behind its header."""
    if not any(line.strip() and not line.strip().startswith("#") for line in body.splitlines()):
        return False
    return parsed(textwrap.dedent(function.header + body)) is not None


def completion(model: Model, function: Function, writing: Writing, number: int) -> str:
    """Return what counts of what a model writes behind a header."""
    written = ""
    for piece in model.write(function.prompt, writing, seed=0, number=number):
        written += piece
        if (end := behind(written, function.margin)) is not None:
            return written[:end]
    tokens = len(model.fields.text.tokenizer.encode([written])[0])
    return written if tokens < writing.length else written[: written.rfind("\n") + 1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a model that writes code, such as RUN/model")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--show", type=int, default=0, help="completions to print")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = Model.load(options.model)
    found = [each for text in test_texts(model) for each in functions(text)]
    chosen = np.random.default_rng(0).permutation(len(found))[: options.prompts]
    writing = Writing(length=options.tokens, temperature=options.temperature)
    counts = {"what really follows": 0, "completion": 0}
    for number, place in enumerate(chosen):
        function = found[place]
        made = completion(model, function, writing, number)
        counts["what really follows"] += parses(function, function.body)
        counts["completion"] += parses(function, made)
        if number < options.show:
            print(f"{'-' * 60} {'parses' if parses(function, made) else 'does not parse'}\n{function.header}{made}")
    for name, count in counts.items():
        print(f"{name:20} {count:4} of {len(chosen)}  {count / max(len(chosen), 1):.3f}")


if __name__ == "__main__":
    main()
