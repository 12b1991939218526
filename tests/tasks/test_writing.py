"""Writing texts token by token: what is drawn, where it ends, and in which pieces it comes."""

import json

import pytest
import torch
from torch import nn

from stoker.datasets.fields.schema import Fields
from stoker.datasets.fields.texts.text import TextField
from stoker.datasets.tokens.tokenizer import END, MASK, PADDING, SPECIAL, UNKNOWN
from stoker.job.signature import ContinuationOutput
from stoker.randomness import PerSampleNoise
from stoker.tasks.writing.sampling import drawn
from stoker.tasks.writing.settings import Writing
from stoker.tasks.writing.text_generation import TextGeneration

LETTERS = "\nabcdefgh"


def task(tokens: str = "characters", borders: bool = False) -> TextGeneration:
    asset = json.dumps(LETTERS) if tokens == "characters" else ""
    field = TextField("text", tokens, asset, 4)  # type: ignore[arg-type]
    return TextGeneration(Fields((field,), None, ContinuationOutput(field.tokenizer.size, borders)))


class Alphabet(nn.Module):
    """Expects the next number after the last one; it has no memory, and sees at most four tokens."""

    def __init__(self, vocabulary: int, ends_after: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.vocabulary, self.ends_after = vocabulary, ends_after

    def forward(self, inputs):
        text = inputs["text"]
        assert text.shape[1] <= 4
        following = (text + 1).clamp(max=self.vocabulary - 1)
        if self.ends_after is not None:
            following = following.masked_fill(text == self.ends_after, END)
        return 9.0 * nn.functional.one_hot(following, self.vocabulary).float() + self.weight


def written(given: TextGeneration, network: nn.Module, prompt: str, **settings) -> list[str]:
    noise = PerSampleNoise((0, "t"), range(1))
    with torch.inference_mode():
        return list(given.write(network, prompt, Writing(temperature=0, **settings), noise))


def number(letter: str) -> int:
    return SPECIAL + LETTERS.index(letter)


def test_a_prompt_is_continued_to_the_most_tokens():
    vocabulary = SPECIAL + len(LETTERS)
    assert "".join(written(task(), Alphabet(vocabulary), "ab", length=4)) == "cdef"
    assert written(task(), Alphabet(vocabulary), "ab", length=1) == ["c", ""]


def test_a_long_prompt_is_read_as_far_as_the_network_can():
    assert "".join(written(task(), Alphabet(SPECIAL + len(LETTERS)), "hgfedcba", length=3)) == "bcd"


def test_a_text_ends_with_the_token_of_its_end():
    network = Alphabet(SPECIAL + len(LETTERS), ends_after=number("d"))
    assert "".join(written(task(), network, "a", length=50)) == "bcd"


@pytest.mark.parametrize(("stop", "text"), [(("de",), "bc"), (("f", "cd"), "b"), (("x",), "bcdef"), (("b",), "")])
def test_a_text_ends_before_a_stop_and_no_part_of_it_is_written(stop, text):
    pieces = written(task(), Alphabet(SPECIAL + len(LETTERS)), "a", length=5, stop=stop)
    assert "".join(pieces) == text


def test_pieces_never_hold_half_a_character():
    given = task("bytes")
    snowman = SPECIAL + 0xE2, SPECIAL + 0x98, SPECIAL + 0x83

    class Snow(Alphabet):
        def forward(self, inputs):
            place = {snowman[0]: snowman[1], snowman[1]: snowman[2]}
            following = torch.tensor([[place.get(int(n), snowman[0]) for n in row] for row in inputs["text"]])
            return 9.0 * nn.functional.one_hot(following, self.vocabulary).float() + self.weight

    pieces = written(given, Snow(SPECIAL + 256), "a", length=6)
    assert pieces == ["☃", "☃", ""]


def test_without_a_prompt_a_text_begins_behind_the_end_of_another():
    assert task(borders=True).first_tokens("") == [END]
    assert task(borders=True).first_tokens("a") == [END, number("a")]
    assert task().first_tokens("") == [number("\n")]
    assert task().first_tokens("ab") == [number("a"), number("b")]


class Even:
    """Draws the same point for each row."""

    def __init__(self, point: float) -> None:
        self.point = point

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.full((2, *shape), self.point)


LOGITS = torch.tensor([[9.0, 9.0, -9.0, 9.0, 1.0, 3.0, 2.0, 0.0]]).repeat(2, 1)


@pytest.mark.parametrize(
    ("settings", "low", "high"),
    [
        ({"temperature": 0.0}, 5, 5),
        ({"temperature": 1.0}, 5, 2),
        ({"temperature": 1.0, "top_k": 1}, 5, 5),
        ({"temperature": 1.0, "top_k": 2}, 5, 6),
        ({"temperature": 1.0, "top_p": 0.5}, 5, 5),
        ({"temperature": 1.0, "top_p": 0.8}, 5, 6),
        ({"temperature": 1.0, "top_k": 3, "top_p": 1.0}, 5, 4),
    ],
)
def test_only_likely_tokens_are_drawn(settings, low, high):
    """The point 0 draws the likeliest token, a point next to 1 the least likely one that may be drawn."""
    before = LOGITS.clone()
    assert drawn(LOGITS, Writing(**settings), Even(0.0)).tolist() == [low, low]
    assert drawn(LOGITS, Writing(**settings), Even(1.0 - 2**-24)).tolist() == [high, high]
    assert torch.equal(LOGITS, before)


def test_tokens_are_drawn_as_often_as_they_are_likely():
    noise = PerSampleNoise((1, "t"), range(4000))
    tokens = drawn(LOGITS[:1].repeat(4000, 1), Writing(temperature=1.0), noise)
    shares = torch.bincount(tokens, minlength=8) / 4000
    allowed = LOGITS[0].clone()
    allowed[[PADDING, UNKNOWN, MASK]] = float("-inf")
    torch.testing.assert_close(shares, allowed.softmax(dim=0), atol=0.03, rtol=0)


def test_a_low_temperature_prefers_the_likeliest():
    noise = [PerSampleNoise((1, "t"), range(1000)) for _ in range(2)]
    some = LOGITS[:1].repeat(1000, 1)
    cold, hot = (
        (drawn(some, Writing(temperature=t), n) == 5).float().mean() for t, n in zip((0.3, 3.0), noise, strict=True)
    )
    assert cold > 0.95 > 0.6 > hot


def test_the_least_expected_token_of_a_piece_is_named(rows):
    review = task().review()
    target = torch.tensor(
        [[number("a"), number("b"), END, PADDING], [number("c"), number("d"), number("e"), number("f")]]
    )
    losses = torch.tensor([[0.1, 0.2, 3.0, 0.0], [0.5, 0.9, 0.5, 0.1]])
    review.update(losses, rows({}, target), torch.tensor([7, 8]))
    assert review.rows() == [
        {"id": 7, "text": "ab", "unexpected": "end of text", "loss": 1.1},
        {"id": 8, "text": "cdef", "unexpected": "d", "loss": 0.5},
    ]
    (line,) = review.figures()["loss-by-context"].axes[0].lines
    assert line.get_ydata().tolist() == pytest.approx([0.3, 0.55, 1.75, 0.1])
