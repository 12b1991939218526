"""The base class of all settings, and the field types for durations and sizes."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import core_schema


class Section(BaseModel):
    """An object of the job file. Unknown keys are errors, and strings are not converted to numbers.

    The text under each field is its documentation. `jobfile/documentation` reads it from the source on demand, since
    reading it at import takes longer than checking a job. For the same reason validators are built on first use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


@dataclass(frozen=True)
class Shorthand:
    """Annotation of a field that accepts a bare string for `{key: string}`: `adamw` is `{type: adamw}`."""

    key: str

    def expand(self, value: Any) -> Any:
        """Return a bare string as the object that it stands for; other values stay as they are."""
        return {self.key: value} if isinstance(value, str) else value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        written_out = handler(schema)
        tags = list(written_out.get("discriminator", {}).get("mapping", {}))
        return {"anyOf": [{"type": "string", "enum": tags} if tags else {"type": "string"}, written_out]}


def _section_or_none(value: Any) -> str:
    return "none" if isinstance(value, str) else "section"


SECTION_OR_NONE = Discriminator(_section_or_none)
"""Discriminator of a union of a section, tagged `section`, and the word `none`, tagged `none`."""


def _word_or_object(value: Any) -> str:
    return "word" if isinstance(value, str) else "object"


WORD_OR_OBJECT = Discriminator(_word_or_object)
"""Discriminator of a union of a word, tagged `word`, and an object with free keys, tagged `object`."""


def _number_or_section(value: Any) -> str:
    return "section" if isinstance(value, (dict, BaseModel)) else "number"


NUMBER_OR_SECTION = Discriminator(_number_or_section)
"""Discriminator of a union of a number, tagged `number`, and a section, tagged `section`."""


UNITS = {"%": "%", "step": "steps", "steps": "steps", "epoch": "epochs", "epochs": "epochs"}
SIZES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SIZE = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(SIZES)})")
SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def parse_span(value: Any) -> Any:
    """Return a training duration in its normal form: `5%`, `500 steps` or `2 epochs`; a bare number means epochs.

    Raises:
        ValueError: the value is not a training duration.

    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = _span(value, "epochs")
    if isinstance(value, str):
        number, unit = _number_and_unit(value)
        if number is not None and unit in UNITS and 0 <= number < math.inf:
            return _span(number, UNITS[unit])
    raise ValueError("is not a training duration (examples: 5%, 500 steps, 2 epochs)")


def parse_time(value: Any) -> Any:
    """Return a length of time in its normal form, such as `10 min`; the units are s, min, h and d.

    Raises:
        ValueError: the value is not a length of time.

    """
    if isinstance(value, str):
        number, unit = _number_and_unit(value)
        if number is not None and unit in SECONDS and 0 < number < math.inf:
            return f"{_plain(number)} {unit}"
    raise ValueError("is not a length of time (examples: 90 s, 10 min, 2 h)")


def parse_interval(value: Any) -> Any:
    """Return an interval in its normal form: a training duration or a length of time, above 0.

    Raises:
        ValueError: the value is neither, or 0.

    """
    for parse in (parse_span, parse_time):
        with suppress(ValueError):
            text = parse(value)
            number, _ = _number_and_unit(text)
            if number:
                return text
    raise ValueError("is not a duration above 0 (examples: 1 epoch, 500 steps, 5%, 10 min)")


def parse_epochs(value: Any) -> Any:
    """Return a number of whole epochs in its normal form, such as `5 epochs`; a bare number means epochs.

    Raises:
        ValueError: the value is not a whole number of epochs above 0.

    """
    with suppress(ValueError):
        text = parse_span(value)
        if span_epochs(text):
            return text
    raise ValueError("is not a whole number of epochs above 0 (examples: 1 epoch, 5 epochs)")


def is_time(interval: str) -> bool:
    """Return whether an interval is a length of time rather than a training duration."""
    return _number_and_unit(interval)[1] in SECONDS


def span_epochs(span: str) -> int | None:
    """Return the number of epochs of a training duration in whole epochs; None for any other duration."""
    number, unit = _number_and_unit(span)
    assert number is not None
    return int(number) if UNITS[unit] == "epochs" and number.is_integer() else None


def span_steps(span: str, total_steps: int, steps_per_epoch: int) -> int:
    """Return a training duration in optimizer steps."""
    number, unit = _number_and_unit(span)
    assert number is not None
    scale = {"%": total_steps / 100, "steps": 1, "epochs": steps_per_epoch}[UNITS[unit]]
    return round(number * scale)


def time_seconds(time: str) -> float:
    """Return a length of time in seconds."""
    number, unit = _number_and_unit(time)
    assert number is not None
    return number * SECONDS[unit]


def parse_size(value: object) -> str:
    """Return an amount of memory in its normal form, such as `16GiB`.

    Raises:
        ValueError: the value is not an amount of memory.

    """
    if isinstance(value, str) and (found := SIZE.fullmatch(value.strip())) and float(found[1]) > 0:
        return f"{_plain(float(found[1]))}{found[2]}"
    raise ValueError("is not an amount of memory (examples: 512MiB, 16GiB)")


def size_bytes(size: str) -> int:
    """Return an amount of memory in bytes."""
    found = SIZE.fullmatch(size)
    assert found is not None
    return round(float(found[1]) * SIZES[found[2]])


def _span(number: float, unit: str) -> str:
    if unit == "%":
        return f"{_plain(number)}%"
    return f"{_plain(number)} {unit.removesuffix('s') if number == 1 else unit}"


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else repr(number)


def _number_and_unit(text: str) -> tuple[float | None, str]:
    stripped = text.strip()
    digits = stripped.rstrip("abcdefghijklmnopqrstuvwxyz% ")
    try:
        return float(digits), stripped[len(digits) :].strip()
    except ValueError:
        return None, ""


Size = Annotated[str, BeforeValidator(parse_size), WithJsonSchema({"type": "string"})]
Span = Annotated[str, BeforeValidator(parse_span), WithJsonSchema({"type": ["string", "number"]})]
Epochs = Annotated[str, BeforeValidator(parse_epochs), WithJsonSchema({"type": ["string", "number"]})]
Time = Annotated[str, BeforeValidator(parse_time), WithJsonSchema({"type": "string"})]
Interval = Annotated[str, BeforeValidator(parse_interval), WithJsonSchema({"type": ["string", "number"]})]
