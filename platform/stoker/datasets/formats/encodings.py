"""The first place of a file that is no text in its encoding, or no JSON."""

import codecs
import gzip
import json
from pathlib import Path

from stoker.datasets.formats.csv_dialect import codec_of

CHUNK_BYTES = 1 << 20
CURE = "name its encoding in dataset.encoding, such as latin-1"


def undecodable(path: Path, encoding: str | None) -> str:
    """Return where a file, plain or gzip, is not text in its encoding (default: UTF-8), and the cure."""
    decoder = codecs.getincrementaldecoder(codec_of(encoding))()
    lines = 1
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            try:
                lines += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                lines += error.object[: error.start].decode(error.encoding, "ignore").count("\n")
                return undecodable_at(encoding, lines, error)
            except UnicodeError as error:  # UTF-16 without a mark that tells the order of its bytes
                return f"it is not {encoding or 'UTF-8'} text ({error}); {CURE}"
            if not chunk:
                return f"it is not {encoding or 'UTF-8'} text; {CURE}"


def undecodable_at(encoding: str | None, line: int, error: UnicodeDecodeError) -> str:
    """Return the message for a byte in a line."""
    return f"it is not {encoding or 'UTF-8'} text (line {line}, byte 0x{error.object[error.start]:02x}); {CURE}"


def not_json(error: json.JSONDecodeError) -> str:
    """Return what is wrong with a line, and the cure."""
    return f"is not JSON ({error.msg.removesuffix(' at')} at column {error.colno}); correct or remove it"


def require_no_nul(text: str) -> None:
    """Check that a text has no NUL character, which is in no text but in binary files, and in UTF-16 read as UTF-8.

    Raises:
        ValueError: it has one; the message names its line.

    """
    place = text.find("\0")
    if place >= 0:
        line = text.count("\n", 0, place) + 1
        cure = "remove it, or name the file's encoding in dataset.encoding, such as utf-16-le"
        raise ValueError(f"line {line} holds a NUL character, which no text has; {cure}")
