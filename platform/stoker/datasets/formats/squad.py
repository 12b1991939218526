"""Questions with the parts of texts that answer them, in the JSON of SQuAD (Rajpurkar et al. 2016, 2018)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from stoker.datasets.formats.csv_dialect import codec_of
from stoker.datasets.formats.encodings import not_json
from stoker.datasets.formats.format_inference import text_of
from stoker.job.dataset import Dataset
from stoker.job.formats import SQUAD_COLUMNS

ANSWER = SQUAD_COLUMNS[-1]


def read(path: Path, dataset: Dataset) -> pd.DataFrame:
    """Read a question a row, with its text, and its answers as JSON: none for a question that is_impossible.

    Raises:
        ValueError: the file is not JSON of this form; the message names the place in it.

    """
    with text_of(path, codec_of(dataset.encoding)) as file:
        try:
            content = json.load(file)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno} {not_json(error)}") from error
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
    rows = list(_rows(content))
    if not rows:
        raise ValueError("it holds no questions")
    return pd.DataFrame(rows, columns=["id", *SQUAD_COLUMNS], dtype=object)


def label_of(frame: pd.DataFrame) -> str:
    """Return the column to predict."""
    return ANSWER


def _rows(content: Any) -> Iterator[dict[str, str]]:
    for number, article in enumerate(_list(content, "data", "the file")):
        for place, paragraph in enumerate(_list(article, "paragraphs", f"data[{number}]")):
            where = f"data[{number}].paragraphs[{place}]"
            context = _text(paragraph, "context", where)
            for each, question in enumerate(_list(paragraph, "qas", where)):
                yield _row(question, context, f"{where}.qas[{each}]")


def _row(question: Any, context: str, where: str) -> dict[str, str]:
    asked = _text(question, "question", where)
    answers = []
    if not question.get("is_impossible") and question.get("answers"):
        for place, answer in enumerate(_list(question, "answers", where)):
            inside = f"{where}.answers[{place}]"
            answers.append({"text": _text(answer, "text", inside), "answer_start": _start(answer, inside)})
    written = json.dumps(answers, ensure_ascii=False) if answers else ""
    return {"id": str(question.get("id", "")), "question": asked, "context": context, ANSWER: written}


def _list(value: Any, key: str, where: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        form = '{"data": [{"paragraphs": [{"context": "...", "qas": [{"question": "...", "answers": []}]}]}]}'
        raise ValueError(f"{where} has no list '{key}'; SQuAD has {form}")
    return found


def _text(value: Any, key: str, where: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise ValueError(f"{where} has no text '{key}'")
    return found.encode(errors="replace").decode()  # JSON allows unpaired surrogates, UTF-8 does not


def _start(answer: dict[str, Any], where: str) -> int:
    found = answer.get("answer_start")
    if not isinstance(found, int) or isinstance(found, bool):
        raise ValueError(f"{where} has no whole number 'answer_start'")
    return found
