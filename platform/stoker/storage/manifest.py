"""Folders of objects that are committed atomically by a manifest, written last, with the size and SHA-256 of each file.

The manifest is one line of JSON with sorted keys, `{"content": {"facts": ..., "files": ...}, "sha256": ...}`, whose
SHA-256 is that of the serialized content. The serialization is canonical: a reader serializes the content again and
compares the bytes, so that every changed bit is detected.

A committed folder may be committed again with files of *other* names; the old manifest is valid until the new one
replaces it. A file in a manifest must not be overwritten: its readers would find it damaged.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stoker.errors import Damaged, NotFound
from stoker.storage.objects import Digest, Storage

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """The content of a committed folder."""

    facts: dict[str, Any]
    """Metadata from the writer, as plain JSON."""
    files: dict[str, Digest]
    """Digest of each file, by name relative to the folder."""


def commit(storage: Storage, folder: str, files: Mapping[str, Digest], facts: Mapping[str, Any]) -> None:
    """Commit a folder: write the manifest of files that have already been stored."""
    assert not any(name.rpartition("/")[2] == MANIFEST for name in files), "a manifest marks a folder"
    content = {"facts": dict(facts), "files": {name: asdict(digest) for name, digest in files.items()}}
    plain = json.loads(_canonical(content))  # numeric keys sort differently as text
    storage.put(f"{folder}/{MANIFEST}", [_document(plain)])


def read_manifest(storage: Storage, folder: str) -> Manifest:
    """Return a manifest; raise Damaged unless every byte is as `commit` wrote it."""
    key = f"{folder}/{MANIFEST}"
    stored = _get(storage, key)
    try:
        content = json.loads(stored)["content"]
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{storage.url(key)} is not a valid manifest") from error
    if stored != _document(content):
        raise Damaged(f"{storage.url(key)} is corrupt: it does not match its own checksum")
    return Manifest(content["facts"], {name: Digest(**digest) for name, digest in content["files"].items()})


def read_file(storage: Storage, folder: str, manifest: Manifest, name: str) -> bytes:
    """Return a file of a committed folder; raise Damaged unless size and SHA-256 match, NotFound without an entry."""
    key = f"{folder}/{name}"
    if name not in manifest.files:
        raise NotFound(f"{storage.url(key)} is not in the manifest of its folder")
    expected, stored = manifest.files[name], _get(storage, key)
    if len(stored) != expected.size:
        raise Damaged(f"{storage.url(key)} has {len(stored)} bytes; {expected.size} were written")
    if hashlib.sha256(stored).hexdigest() != expected.sha256:
        raise Damaged(f"{storage.url(key)} is corrupt: its SHA-256 does not match the manifest")
    return stored


def committed(storage: Storage, prefix: str) -> list[str]:
    """Return the folders below a prefix that have a manifest, sorted; the empty prefix means all."""
    keys = (key.rpartition("/") for key in storage.keys(prefix))
    return sorted(folder for folder, _, name in keys if name == MANIFEST and folder != prefix)


def copy(source: Storage, folder: str, target: Storage, to: str) -> None:
    """Copy a committed folder, completely or not at all; raise Damaged unless every byte is as it was written."""
    manifest = read_manifest(source, folder)
    names = list(manifest.files)
    digests = {name: target.put(f"{to}/{name}", [read_file(source, folder, manifest, name)]) for name in names}
    commit(target, to, digests, manifest.facts)


def remove(storage: Storage, folder: str) -> None:
    """Delete a folder, its manifest first: if the deletion is interrupted, the rest no longer counts as committed."""
    storage.delete([f"{folder}/{MANIFEST}"])
    storage.clear(folder)


def _get(storage: Storage, key: str) -> bytes:
    try:
        return storage.get(key)
    except NotFound as error:
        raise Damaged(f"{storage.url(key)} is missing") from error


def _document(content: Any) -> bytes:
    digest = hashlib.sha256(_canonical(content)).hexdigest()
    return _canonical({"content": content, "sha256": digest})


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
