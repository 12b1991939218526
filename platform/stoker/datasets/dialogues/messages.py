"""Dialogues as they are written in data: lists of messages with a role and a content."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd

from stoker.datasets.fields.category import as_text
from stoker.datasets.fields.lists import row_of
from stoker.datasets.records import RawColumn
from stoker.errors import JobError, Problem

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = get_args(Role)
EXAMPLE = '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]'
SHOWN = 40
INSPECTED_ROWS = 20


@dataclass(frozen=True)
class Message:
    """What somebody says in a dialogue."""

    role: Role
    content: str


Dialogue = tuple[Message, ...]


def read_dialogues(raw: RawColumn, name: str, plain: bool, path: str = "dataset.source") -> list[Dialogue]:
    """Return the messages of each cell.

    Args:
        raw: the column.
        name: of the column.
        plain: whether a cell may be a text, which is a message of the user, in place of a list of messages.
        path: of the setting that messages name.

    Raises:
        JobError: a cell is missing or no list of messages; with its row and the cure.

    """
    assert isinstance(raw, pd.Series)
    texts = as_text(raw) if len(raw) else ()
    found = []
    for row, (value, text) in enumerate(zip(raw, texts, strict=True)):
        try:
            cell = value if isinstance(value, (list, tuple, np.ndarray)) else text
            found.append(read_dialogue(cell, name, plain))
        except ValueError as error:
            raise JobError([Problem(path, f"row {row_of(raw, row)}: {error}")]) from error
    return found


def read_dialogue(cell: object, name: str, plain: bool) -> Dialogue:
    """Return the messages of a cell; arguments as for `read_dialogues`.

    Raises:
        ValueError: there are none, or one is not as it has to be; the message has the cure.

    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        raise ValueError(f"column '{name}' is empty; write messages such as {EXAMPLE}, or remove the row")
    listed = _parsed(cell) if isinstance(cell, str) else list(cast("Sequence[object]", cell))
    if listed is None and plain:
        return (Message("user", str(cell)),)
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"column '{name}' has {_short(cell)}, no list of messages; write it as {EXAMPLE}")
    return tuple(_message(each, number) for number, each in enumerate(listed, start=1))


def _parsed(text: str) -> Any:
    """Return the value of a JSON list; None for any other text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        listed = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    return listed


def _message(value: object, number: int) -> Message:
    """Read a message; ValueError has the cure."""
    if not isinstance(value, Mapping) or "role" not in value:
        raise ValueError(f"message {number} is {_short(value)}, without a role; write it as {EXAMPLE[1:34]}}}")
    role, content = value["role"], value.get("content")
    if role not in ROLES:
        raise ValueError(f"message {number} has the role {_short(role)}; use {', '.join(ROLES[:-1])} or {ROLES[-1]}")
    if not isinstance(content, str):
        raise ValueError(f"the content of message {number} ({role}) is {_short(content)}, no text; write it in quotes")
    if not content.strip():
        raise ValueError(f"the content of message {number} ({role}) is empty; write a text, or remove the row")
    return Message(role, content)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return f"'{text[:SHOWN]}...'" if len(text) > SHOWN else f"'{text}'"


def answered(dialogue: Dialogue) -> Dialogue:
    """Return a dialogue up to its last answer.

    Raises:
        ValueError: it has none; the message has the cure.

    """
    last = max((place for place, each in enumerate(dialogue) if each.role == "assistant"), default=None)
    if last is None:
        cure = 'add one of the role "assistant", or name the column of answers in dataset.columns.label'
        raise ValueError(f"no message is an answer, which is what is learnt; {cure}")
    return dialogue[: last + 1]


def asked(dialogue: Dialogue) -> Dialogue:
    """Return a dialogue without the answer at its end, if there is one: what is to be answered."""
    return dialogue[:-1] if len(dialogue) > 1 and dialogue[-1].role == "assistant" else dialogue


def without_oldest(dialogue: Dialogue) -> Dialogue | None:
    """Return a dialogue without its oldest turn: all before the next message of the user but what the system says.

    None if there is only one turn.
    """
    kept = next((place for place, each in enumerate(dialogue) if each.role != "system"), len(dialogue))
    following = (place for place, each in enumerate(dialogue) if place > kept and each.role == "user")
    begin = next(following, None)
    return None if begin is None else (*dialogue[:kept], *dialogue[begin:])


def as_cell(dialogue: Dialogue) -> str:
    """Return a dialogue as a cell of a table."""
    return json.dumps([{"role": each.role, "content": each.content} for each in dialogue], ensure_ascii=False)


def holds_messages(column: pd.Series) -> bool:
    """Return whether the first cells of a column are lists of messages."""
    return any(_is_dialogue(cell) for cell in column.dropna().head(INSPECTED_ROWS))


def _is_dialogue(cell: object) -> bool:
    listed = _parsed(cell) if isinstance(cell, str) else cell
    return isinstance(listed, (list, np.ndarray)) and len(listed) > 0 and all(_has_role(each) for each in listed)


def _has_role(value: object) -> bool:
    return isinstance(value, Mapping) and "role" in value


def contents(dialogues: Sequence[Dialogue]) -> Iterator[str]:
    """Yield the content of each message."""
    return (each.content for dialogue in dialogues for each in dialogue)
