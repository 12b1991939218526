"""The dialect of a csv file: encoding, delimiter and quote, detected in its first bytes."""

import codecs
import csv
import gzip
import io
import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

HEAD_BYTES = 16 << 20
"""The encoding is detected in this many bytes: reading more than the head of a large file takes seconds."""
LINES_BYTES = 1 << 20
DELIMITERS = ",;\t|"
DELIMITER_LINES = 50
MIN_LINES, MIN_VALUES = 3, 3
"""Lines of a table of unknown format, and values between commas, which also separate parts of sentences."""
LONG_SHARE = 10
"""cp1252 has fewer than one in so many of its letters beyond ASCII in runs of three or more."""
DAMAGED = 10
"""A file with fewer invalid bytes than this for each valid sequence of several bytes is damaged UTF-8, not cp1252."""
_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")
_HIGH = re.compile(rb"[\x80-\xff]+")
_LONG_RUN = 3


@dataclass(frozen=True)
class Dialect:
    """How a csv file is written."""

    delimiter: str = ","
    encoding: str = "utf-8"
    """utf-8, with or without a byte order mark, utf-16, cp1252, or what the job names."""
    quote: str = '"'

    @property
    def codec(self) -> str:
        """Return the codec, which drops a byte order mark."""
        return codec_of(self.encoding)

    @property
    def text(self) -> str:
        """Return the dialect in words."""
        delimiter = "tab" if self.delimiter == "\t" else f"'{self.delimiter}'"
        return f"{delimiter} separated, {self.encoding}, quoted by {self.quote}"


def codec_of(encoding: str | None) -> str:
    """Return the codec of an encoding, UTF-8 for None; that of UTF-8 drops a byte order mark."""
    return "utf-8-sig" if encoding is None or codecs.lookup(encoding).name == "utf-8" else encoding


def csv_dialect(path: str | Path, encoding: str | None = None) -> Dialect:
    """Return the dialect of a file, plain or gzip; `encoding` is the one that the job names.

    The delimiter splits the first lines into equally many values; if several do, into the most. A file that is not
    UTF-8 nor marked as UTF-16 is cp1252, as spreadsheets on Windows write it.
    """
    path = Path(path)
    facts = path.stat()
    return _detect(path, facts.st_size, facts.st_mtime_ns, encoding)


def is_table(path: Path) -> bool:
    """Return whether a file of unknown format is delimited text: its rows have equally many values."""
    dialect = csv_dialect(path)
    with path.open(encoding=dialect.codec, errors="replace", newline="") as file:
        lines = [line for line in itertools.islice(file, DELIMITER_LINES) if line.strip()]
    even, values = _evenness(lines, dialect.delimiter, dialect.quote, whole=True)
    return even and len(lines) >= MIN_LINES and values >= (MIN_VALUES if dialect.delimiter == "," else 2)


@lru_cache(maxsize=64)
def _detect(path: Path, _size: int, _changed_ns: int, encoding: str | None) -> Dialect:
    """Return the dialect; a file is checked, read and described, and its first bytes are decoded once for all."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    dialect = Dialect(encoding=encoding or _encoding(head))
    decoder = codecs.getincrementaldecoder(dialect.codec)("replace")
    text = io.StringIO(decoder.decode(head[:LINES_BYTES]), newline="")
    lines = [line for line in itertools.islice(text, DELIMITER_LINES) if line.strip()]
    whole = next(text, None) is None and len(head) <= LINES_BYTES
    quotes = ["'" if _single_quoted(lines, delimiter) else '"' for delimiter in DELIMITERS]
    found = [_evenness(lines, *pair, whole) for pair in zip(DELIMITERS, quotes, strict=True)]
    best, tab = found.index(max(found)), DELIMITERS.index("\t")
    if ".tsv" in path.name and (found[tab][0] or found[best][1] < 2):
        best = tab
    return Dialect(DELIMITERS[best], dialect.encoding, quotes[best])


def _encoding(head: bytes) -> str:
    """Return the encoding; utf-8 for what is no text, or damaged, so that reading it fails."""
    if head.startswith(_BYTE_ORDER_MARKS):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
        return "utf-8"
    except UnicodeDecodeError:
        invalid = head.decode("utf-8", "replace").count("\ufffd")
    if _CONTROL.search(head) or DAMAGED * sum(1 for _ in _MULTIBYTE.finditer(head)) > invalid:
        return "utf-8"
    high = long = 0  # letters of other scripts follow each other; those of cp1252 stand between ASCII letters
    for match in _HIGH.finditer(head):
        length = len(match.group())
        high, long = high + length, long + length * (length >= _LONG_RUN)
    if LONG_SHARE * long > high:
        return "utf-8"
    try:
        head.decode("cp1252")
    except UnicodeDecodeError:  # five bytes stand for nothing
        return "utf-8"
    return "cp1252"


def _single_quoted(lines: list[str], delimiter: str) -> bool:
    """Return whether single quotes enclose a value of one line in each row but the header, and double quotes none."""
    start = rf"(?:^|{re.escape(delimiter)}) *"
    text = "".join(lines)
    if re.search(start + '"', text, re.MULTILINE):
        return False
    cell = rf"{start}'(?:[^']|'')*'(?= *(?:{re.escape(delimiter)}|\r|$))"
    quoted: list[str] = re.findall(cell, text, re.MULTILINE)
    continued = sum(value.count("\n") for value in quoted)
    rows = sum(re.search(cell, line) is not None for line in lines)
    return rows >= max(len(lines) - continued - 1, 1)


def _evenness(lines: list[str], delimiter: str, quote: str, whole: bool) -> tuple[bool, int]:
    """Return whether a delimiter splits all rows into equally many values, more than one, and the fewest of a row."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter, quotechar=quote) if row]
    except csv.Error:  # a value of more than 128 KiB, such as after an unclosed quote
        return False, 0
    counts = {len(row) for row in (rows if whole else rows[:-1])} or {0}  # the last row may continue on later lines
    return len(counts) == 1 and max(counts) > 1, min(counts)
