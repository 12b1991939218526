"""One file at an http or https address, with an optional checksum: `https://HOST/FILE#sha256=HEX`."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit, urlunsplit

from stoker.datasets.sources.source import RemoteFile, Source
from stoker.datasets.sources.transfer import PATIENCE_S
from stoker.datasets.sources.web import WebClient, WebFile
from stoker.settings import without_password

_CHECKSUM = re.compile(r"sha256=([0-9A-Fa-f]{64})")


class HttpsSource(Source):
    """One file of a web server."""

    def __init__(self, source: str, patience_s: float = PATIENCE_S) -> None:
        self._address, fragment = urldefrag(source)
        checksum = _CHECKSUM.fullmatch(fragment)
        self._sha256 = checksum[1].lower() if checksum else ""
        identity = urlsplit(without_password(self._address))
        super().__init__(
            urlunsplit(identity._replace(fragment=f"sha256={self._sha256}" if checksum else "")),
            urlunsplit(identity._replace(query="")),  # a signed address has its secret there
        )
        self._patience_s = patience_s

    @cached_property
    def _client(self) -> WebClient:
        return WebClient(self._patience_s)

    @staticmethod
    def problem(source: str) -> str:
        """Return the problem of an address's syntax; empty if it is valid."""
        try:
            parts = urlsplit(source)
            usable = bool(parts.hostname) and parts.port != 0 and not any(letter.isspace() for letter in source)
        except ValueError:  # an invalid port or IPv6 address
            usable = False
        if not usable:
            return f"'{source.rpartition('@')[2]}' is not an address; write https://HOST/FILE"
        if parts.fragment and not _CHECKSUM.fullmatch(parts.fragment):
            return f"'#{parts.fragment[:80]}' is not a checksum; write #sha256= and 64 hexadecimal digits"
        return ""

    def files(self) -> list[RemoteFile]:
        """Return the one file; with a checksum, without contacting the server."""
        name = unquote(urlsplit(self._address).path.rpartition("/")[2]) or "data"
        if self._sha256:
            return [RemoteFile(name, None, f"sha256:{self._sha256}", self._sha256, is_source=True)]
        headers = self._client.facts(WebFile(self._address, self.shown))
        length = headers.get("Content-Length", "")
        return [RemoteFile(name, int(length) if length.isdecimal() else None, _version(headers), is_source=True)]

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Download the file."""
        kind, _, value = file.version.partition(":")
        validator = value if kind in ("etag", "modified") and not value.startswith("W/") else ""  # RFC 9110, 13.1.5
        self._client.fetch(WebFile(self._address, self.shown, validator, pinned=bool(self._sha256)), target)


def _version(headers: Mapping[str, str]) -> str:
    """Return the strongest version identifier in the headers of a file."""
    for kind, header in (("etag", "ETag"), ("modified", "Last-Modified"), ("size", "Content-Length")):
        if value := headers.get(header):
            return f"{kind}:{value}"
    return ""
