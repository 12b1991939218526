"""Chat templates: how the messages of a dialogue become one sequence, and which parts of it are answers."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stoker.datasets.dialogues.messages import Dialogue, Message, Role
from stoker.datasets.tokens.tokenizer import END, MASK

PROBE: Dialogue = (Message("user", "ping"), Message("assistant", "pong"))
"""A dialogue, to see how a template ends an answer."""


@dataclass(frozen=True)
class Piece:
    """A part of a sequence."""

    content: str | tuple[int, ...]
    """A text, or tokens that no text has."""
    learnt: bool = False
    """Whether it is an answer, its end included."""


class ChatTemplate(ABC):
    """Writes a dialogue as one sequence."""

    @abstractmethod
    def pieces(self, dialogue: Dialogue, answering: bool) -> list[Piece]:
        """Return the parts of a dialogue.

        Args:
            dialogue: its messages.
            answering: whether it goes on with an answer, of which the beginning belongs to the sequence.

        Raises:
            ValueError: the template refuses the dialogue; the message has the cure.

        """

    @property
    def ends(self) -> tuple[str, ...]:
        """Return the texts of further tokens that end an answer, beside END."""
        return ()

    @abstractmethod
    def asset(self) -> str:
        """Return the template as the content of a file."""


class MarkedTemplate(ChatTemplate):
    """For vocabularies of our own: MASK, which no dialogue has, says who speaks, and END ends each message.

    A user's message is `MASK content END`, an answer `MASK MASK content END`, the system's has MASK three times. These
    numbers are the same in every vocabulary, so that a model goes on with the one that it started from.
    """

    MARKS: dict[Role, tuple[int, ...]] = {"user": (MASK,), "assistant": (MASK,) * 2, "system": (MASK,) * 3}  # noqa: RUF012  # a table

    def pieces(self, dialogue: Dialogue, answering: bool) -> list[Piece]:
        """Return marks, contents and ends."""
        found = []
        for each in dialogue:
            learnt = each.role == "assistant"
            found += [Piece(self.MARKS[each.role]), Piece(each.content, learnt), Piece((END,), learnt)]
        return [*found, Piece(self.MARKS["assistant"])] if answering else found

    def asset(self) -> str:
        """Return its name."""
        return json.dumps({"kind": "marked"})


@dataclass(frozen=True)
class HeadedTemplate(ChatTemplate):
    """For pretrained models without a template of their own: `User: ...` and `Assistant: ...`, each on a line.

    An answer ends with END, which is the model's own end of a text; other messages end with their line. A blank stands
    before each: most vocabularies, and what their models have read, have words with it.
    """

    begin: tuple[int, ...]
    """Tokens before a text, as the model was trained."""

    def pieces(self, dialogue: Dialogue, answering: bool) -> list[Piece]:
        """Return headings, contents and ends."""
        found = [Piece(self.begin)]
        for each in dialogue:
            if each.role == "assistant":
                answer = Piece(f" {each.content}", True)
                found += [Piece(self.heading(each.role)), answer, Piece((END,), True), Piece("\n")]
            else:
                found.append(Piece(f"{self.heading(each.role)} {each.content}\n"))
        return [*found, Piece(self.heading("assistant"))] if answering else found

    @staticmethod
    def heading(role: Role) -> str:
        """Return what stands before a message."""
        return f"{role.capitalize()}:"

    def asset(self) -> str:
        """Return its name and the tokens."""
        return json.dumps({"kind": "headed", "begin": list(self.begin)})


@dataclass(frozen=True)
class ModelTemplate(ChatTemplate):
    """The template in Jinja that comes with a pretrained model, rendered by transformers."""

    source: str
    names: tuple[tuple[str, str], ...]
    """Special tokens that the template names, such as bos_token, with their texts."""
    special: tuple[str, ...]
    """Texts of all special tokens."""

    def pieces(self, dialogue: Dialogue, answering: bool) -> list[Piece]:
        """Return what the template writes: an answer up to the special token behind it, or with END if it has none."""
        self._check(dialogue)
        found: list[Piece] = []
        done = ""
        for place, each in enumerate(dialogue):
            if each.role != "assistant":
                continue
            through = self._text(dialogue[: place + 1], False)
            begin = through.find(each.content.strip())
            before = self._text(dialogue[:place], True) if place else through[: max(begin, 0)]
            if not before.startswith(done) or not through.startswith(before):
                message = "the model's chat template rewrites earlier turns when a dialogue goes on"
                raise ValueError(f"{message}; write each answer as a dialogue of its own, with the turns before it")
            answer = through[len(before) :]
            content = answer.find(each.content.strip())
            end = self._end(answer, max(content, 0) + len(each.content.strip()))
            found += [Piece(before[len(done) :]), Piece(answer[: end or len(answer)], True)]
            if not end:
                found.append(Piece((END,), True))
            done = before + answer[: end or len(answer)]
        whole = self._text(dialogue, answering)
        return [*found, Piece(whole[len(done) :])] if answering and whole.startswith(done) else found

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """Return the special token that the template writes behind an answer, if it writes one."""
        through = self._text(PROBE, False)
        begin = through.find(PROBE[-1].content) + len(PROBE[-1].content)
        end = self._end(through, begin)
        found = [token for token in self.special if end and through[:end].endswith(token)]
        return (max(found, key=len),) if found else ()

    def _end(self, text: str, begin: int) -> int | None:
        """Return where the first special token behind a place ends; None if there is none."""
        places = [(place, -len(token)) for token in self.special if (place := text.find(token, begin)) >= 0]
        place, length = min(places, default=(-1, 0))
        return place - length if places else None

    def _check(self, dialogue: Dialogue) -> None:
        for number, each in enumerate(dialogue, start=1):
            if found := [token for token in self.special if token in each.content]:
                message = f"the content of message {number} has '{found[0]}', by which the model's template tells turns"
                raise ValueError(f"{message}; write it otherwise")

    def _text(self, dialogue: Dialogue, answering: bool) -> str:
        from jinja2 import TemplateError

        messages = [{"role": each.role, "content": each.content} for each in dialogue]
        try:
            text: str = self._renderer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answering)
        except TemplateError as error:
            raise ValueError(
                f"the model's chat template refuses this dialogue ({error}); order its messages so"
            ) from error
        return text

    @cached_property
    def _renderer(self) -> Any:
        from tokenizers import Tokenizer as Library
        from tokenizers import models
        from transformers import PreTrainedTokenizerFast  # seconds to import, for pretrained models alone

        return PreTrainedTokenizerFast(
            tokenizer_object=Library(models.BPE()), chat_template=self.source, **dict(self.names)
        )

    def asset(self) -> str:
        """Return all that it consists of."""
        content = {"kind": "model", "source": self.source, "names": self.names, "special": self.special}
        return json.dumps(content, ensure_ascii=False)


def from_asset(content: str) -> ChatTemplate:
    """Read a template from `asset`."""
    values = json.loads(content)
    match values["kind"]:
        case "marked":
            return MarkedTemplate()
        case "headed":
            return HeadedTemplate(tuple(values["begin"]))
        case _:
            names = tuple((name, token) for name, token in values["names"])
            return ModelTemplate(values["source"], names, tuple(values["special"]))


def flat(pieces: Sequence[Piece]) -> list[str]:
    """Return the texts among some pieces."""
    return [each.content for each in pieces if isinstance(each.content, str)]
