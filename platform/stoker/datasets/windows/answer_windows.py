"""What is learnt of a window: where the answer is in it, with the texts that answers are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

HEADER = 7


@dataclass(frozen=True)
class AnswerWindow:
    """A question and the part of a text that one sample holds."""

    begin: int
    """Place in the sequence of the answer's first token; 0 if the window has no answer."""
    end: int
    """Place of its last token."""
    question_number: int
    """All windows of a question have the same."""
    offset: int
    """Characters of the whole text before the window."""
    text: str
    """Of the window."""
    question: str
    answers: tuple[str, ...]
    """All answers of the data, wherever in the text they are; none if the question has no answer."""

    def part(self, begin: int, end: int) -> str:
        """Return a part of the window, by its places in the whole text."""
        return self.text[max(begin - self.offset, 0) : max(end - self.offset, 0)]

    def packed(self, answers: np.ndarray) -> np.ndarray:
        """Return int32 numbers that hold all of it: places, lengths, and the code points of the texts.

        Args:
            answers: as `packed_texts` returns them.

        """
        texts = [_code_points(self.text), _code_points(self.question)]
        places = [self.begin, self.end, self.question_number, self.offset, *map(len, texts), len(answers)]
        return np.concatenate([np.array(places, np.int32), *texts, answers])

    @staticmethod
    def unpacked(numbers: np.ndarray) -> "AnswerWindow":
        """Read the numbers of `packed`; padding may follow them."""
        begin, end, question_number, offset, text, question, answers = numbers[:HEADER].tolist()
        ends = np.cumsum([HEADER, text, question, answers]).tolist()
        found = [numbers[start:stop] for start, stop in pairwise(ends)]
        return AnswerWindow(
            begin, end, question_number, offset, _text(found[0]), _text(found[1]), unpacked_texts(found[2])
        )


def packed_texts(texts: Sequence[str]) -> np.ndarray:
    """Return int32 numbers that hold some texts: the length of each, and its code points."""
    points = [_code_points(text) for text in texts]
    return np.concatenate([np.zeros(0, np.int32), *(np.append(np.int32(len(each)), each) for each in points)])


def unpacked_texts(numbers: np.ndarray) -> tuple[str, ...]:
    """Read the numbers of `packed_texts`."""
    texts, place = [], 0
    while place < len(numbers):
        end = place + 1 + int(numbers[place])
        texts.append(_text(numbers[place + 1 : end]))
        place = end
    return tuple(texts)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.int32)


def _text(points: np.ndarray) -> str:
    return points.astype("<i4").tobytes().decode("utf-32-le", "surrogatepass")
