"""Source code: the share of a model's completions that Python can parse.

A prompt is the header of a function of the test part of the model's dataset, `def` to `:` with its docstring, if it
has one, at the margin. What the model writes behind it counts up to the first line at the margin that begins something
else, or, where no such line comes within so many tokens, up to its last whole line. A completion parses if it has a
statement, and header and completion together are accepted by `ast.parse`. Headers alone, and headers with what really
follows them, are counted in the same way beside it.
"""

import argparse
import ast
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from stoker.datasets.columns import Windows
from stoker.datasets.tokens.tokenizer import END, PADDING
from stoker.inference.model import Model
from stoker.tasks.writing.settings import Writing
from stoker.training.assembly import prepare

AT_MARGIN = re.compile(r"^(?=[^\s#)\]}])", re.MULTILINE)
"""The beginning of a line that is not indented; closing brackets still belong to the line above."""


def test_texts(model: Model) -> list[str]:
    """Return the texts of the test part."""
    parts = prepare(model.job).data.parts
    column = parts["test"].inputs[model.fields.text.name]
    assert isinstance(column, Windows)
    tokens = column.values[column.values != PADDING].numpy()
    borders = np.flatnonzero(tokens == END)
    decode = model.fields.text.tokenizer.decode
    return [decode([int(token) for token in each if token != END]) for each in np.split(tokens, borders)]


def functions(source: str) -> Iterator[tuple[str, str]]:
    """Yield header and body of each function, at the margin; nothing of a source that does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
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
        whole = textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno]))
        header = "".join(whole.splitlines(keepends=True)[: first - node.lineno + 1])
        yield header, whole[len(header) :]


def completion(written: str, ended: bool) -> str:
    """Return what counts of a text behind a header."""
    if found := AT_MARGIN.search(written, pos=1):
        return written[: found.start()]
    return written if ended else written[: written.rfind("\n") + 1]


def parses(header: str, body: str) -> bool:
    """Return whether Python accepts a function that has a statement behind its header."""
    if not any(line.strip() and not line.strip().startswith("#") for line in body.splitlines()):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            ast.parse(header + body)
    except (SyntaxError, ValueError):
        return False
    return True


def write(model: Model, header: str, writing: Writing, number: int) -> tuple[str, bool]:
    """Return what follows a header, and whether it came to an end, until a line at the margin begins."""
    written = ""
    for piece in model.write(header, writing, seed=0, number=number):
        written += piece
        if AT_MARGIN.search(written, pos=1):
            break
    tokens = len(model.fields.text.tokenizer.encode([written])[0])
    return written, tokens < writing.length


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
    counts = {"header alone": 0, "what really follows": 0, "completion": 0}
    for number, place in enumerate(chosen):
        header, body = found[place]
        made = completion(*write(model, header, writing, number))
        counts["header alone"] += parses(header, "")
        counts["what really follows"] += parses(header, body)
        counts["completion"] += parses(header, made)
        if number < options.show:
            print(f"{'-' * 60} {'parses' if parses(header, made) else 'does not parse'}\n{header}{made}")
    for name, count in counts.items():
        print(f"{name:20} {count:4} of {len(chosen)}  {count / max(len(chosen), 1):.3f}")


if __name__ == "__main__":
    main()
