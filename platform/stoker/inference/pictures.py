"""Pictures of a request: files, addresses, the bytes of a file, base64 text of them, or arrays of pixels."""

import base64
import binascii
import io
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

import numpy as np
import pandas as pd
from PIL import Image

from stoker.datasets.members import Content, Location
from stoker.datasets.records import Files, RawColumn
from stoker.errors import JobError, Problem
from stoker.job.formats import IMAGE_SUFFIXES

MOST_BYTES = 50_000_000
"""Of a picture at an address."""
TIMEOUT_S = 20.0
CHUNK_BYTES = 1 << 16
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DATA = re.compile(r"data:[^,]*;base64,")
SHOWN = 60


def request_pictures(cells: Sequence[Any], name: str) -> RawColumn:
    """Return the pictures of a column of a request: files, or pixels where all cells hold them.

    Raises:
        JobError: a cell is no picture, or an address cannot be fetched.

    """
    if not any(isinstance(cell, str | bytes | bytearray | memoryview | Path) for cell in cells):
        return pd.Series([np.asarray(cell).tolist() for cell in cells], dtype=object)
    return Files(tuple(_location(cell, f"row {row}, column '{name}'") for row, cell in enumerate(cells, start=1)))


def frames(file: Path) -> list[Location]:
    """Return a picture itself, or each frame of an animation or page of a document as a picture of its own."""
    try:
        with Image.open(file) as image:
            count = getattr(image, "n_frames", 1)
            if count == 1:
                return [file]
            return [_frame(image, file, number) for number in range(count)]
    except Exception:  # decoding reports the file and the reason
        return [file]


def _frame(image: Image.Image, file: Path, number: int) -> Content:
    image.seek(number)
    written = io.BytesIO()
    image.convert("RGBA" if image.has_transparency_data else "RGB").save(written, "PNG", compress_level=1)
    return Content(f"{file.with_suffix('')}-{number:04d}{file.suffix}", written.getvalue())


def _location(cell: Any, place: str) -> Location:
    """Return where the content of a cell is.

    Raises:
        JobError: nowhere.

    """
    if isinstance(cell, bytes | bytearray | memoryview):
        return Content(place, bytes(cell))
    if isinstance(cell, Path):
        return _file(cell, place)
    if not isinstance(cell, str):
        return Content(place, _written(cell, place))
    if cell.lower().startswith(("http://", "https://")):
        return Content(cell, fetched(cell, place))
    if scheme := _SCHEME.match(cell):
        message = f"{place}: {scheme[0]} is not fetched; send an http or https address, or the content itself"
        raise JobError([Problem("", message)])
    if Path(cell).suffix.lower() in IMAGE_SUFFIXES:
        return _file(Path(cell), place)
    return Content(place, _unpacked(cell, place))


def _file(path: Path, place: str) -> Path:
    """Return the path of a picture; other files are never opened.

    Raises:
        JobError: it is none.

    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise JobError([Problem("", f"{place}: '{path}' does not end as a picture does, such as .png or .jpg")])
    if not path.is_file():
        raise JobError([Problem("", f"{place}: there is no file '{path}' here; send its content as base64 text")])
    return path


def _unpacked(text: str, place: str) -> bytes:
    """Return the bytes that a base64 text stands for, with or without the beginning of a data URL.

    Raises:
        JobError: it stands for none.

    """
    content = text[begin.end() :] if (begin := _DATA.match(text)) else text
    plain = "".join(content.split()).replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
        message = f"{place}: '{shown}' is neither base64 text nor the path or address of a picture"
        raise JobError([Problem("", message)]) from None


def _written(cell: Any, place: str) -> bytes:
    """Return pixels that stand beside files as the bytes of a file.

    Raises:
        JobError: they are no picture.

    """
    try:
        pixels = np.asarray(cell).clip(0, 255).astype(np.uint8)
        written = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(written, "PNG")
    except (TypeError, ValueError) as error:
        raise JobError([Problem("", f"{place} holds no picture")]) from error
    return written.getvalue()


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to where a request may go itself."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        """Check the new address."""
        _check_host(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetched(address: str, place: str) -> bytes:
    """Download a picture.

    Raises:
        JobError: there is none, it is too large, or the server does not answer in time.

    """
    opener = OpenerDirector()  # without handlers of files and FTP
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor, _Redirects):
        opener.add_handler(handler())
    try:
        _check_host(address)
        with opener.open(Request(address, headers={"Accept": "image/*"}), timeout=TIMEOUT_S) as answer:  # noqa: S310 - only http and https have handlers
            return _limited(iter(lambda: answer.read(CHUNK_BYTES), b""))
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise JobError([Problem("", f"{place}: cannot fetch '{address}': {reason}")]) from error


def _limited(chunks: Iterable[bytes]) -> bytes:
    """Return all chunks.

    Raises:
        ValueError: they are too many.

    """
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES // 1_000_000} MB")
    return bytes(content)


def _check_host(address: str) -> None:
    """Check that an address is not one that tells a machine its own secrets, as link-local ones of clouds do.

    Raises:
        ValueError: it is.

    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{address}' is no http or https address")
    for found in socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM):
        host = ipaddress.ip_address(found[4][0])
        if host.is_link_local or host.is_multicast or host.is_unspecified:
            raise ValueError(f"{parts.hostname} is an address of the network itself")
