"""A folder of objects that counts as a whole: its manifest comes last, and says byte for byte what the rest must be.

The manifest is one line of JSON with sorted keys, `{"content": {"facts": ..., "files": ...}, "sha256": ...}`, whose
SHA-256 is that of its content's own text. There is exactly one way to write a content, so a reader writes it again and
compares: no bit of it can change unseen.

A committed folder may be committed anew over files of *other* names; until the new manifest is there, the old one
holds. A file that a manifest names is never put again: its readers would find it damaged.
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
    """What a committed folder holds."""

    facts: dict[str, Any]
    """What its writer wanted to say: plain JSON."""
    files: dict[str, Digest]
    """By name, relative to the folder."""


def commit(storage: Storage, folder: str, files: Mapping[str, Digest], facts: Mapping[str, Any]) -> None:
    """Make a folder count: write the manifest of files that were all put before."""
    assert not any(name.rpartition("/")[2] == MANIFEST for name in files), "a manifest marks a folder"
    content = {"facts": dict(facts), "files": {name: asdict(digest) for name, digest in files.items()}}
    plain = json.loads(_canonical(content))  # keys that are numbers sort differently once they are text
    storage.put(f"{folder}/{MANIFEST}", [_document(plain)])


def read_manifest(storage: Storage, folder: str) -> Manifest:
    """Read a manifest; Damaged unless every byte is as `commit` wrote it."""
    key = f"{folder}/{MANIFEST}"
    stored = _get(storage, key)
    try:
        content = json.loads(stored)["content"]
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{storage.url(key)} is no manifest any more") from error
    if stored != _document(content):
        raise Damaged(f"{storage.url(key)} is not what was written there: it does not agree with its own checksum")
    return Manifest(content["facts"], {name: Digest(**digest) for name, digest in content["files"].items()})


def read_file(storage: Storage, folder: str, manifest: Manifest, name: str) -> bytes:
    """Read a file of a committed folder; Damaged unless size and SHA-256 agree, NotFound if no manifest named it."""
    key = f"{folder}/{name}"
    if name not in manifest.files:
        raise NotFound(f"{storage.url(key)} is not in the manifest of its folder")
    promised, stored = manifest.files[name], _get(storage, key)
    if len(stored) != promised.size:
        raise Damaged(f"{storage.url(key)} has {len(stored)} bytes; {promised.size} were written")
    if hashlib.sha256(stored).hexdigest() != promised.sha256:
        raise Damaged(f"{storage.url(key)} is not what was written there: its SHA-256 is another one")
    return stored


def committed(storage: Storage, prefix: str) -> list[str]:
    """Name the folders below a prefix that have a manifest, sorted; the empty prefix means all."""
    marked = (key.rpartition("/") for key in storage.keys(prefix))
    return sorted(folder for folder, _, name in marked if name == MANIFEST and folder != prefix)


def copy(source: Storage, folder: str, target: Storage, to: str) -> None:
    """Copy a committed folder, whole or not at all; Damaged unless every byte is as it was written."""
    manifest = read_manifest(source, folder)
    names = list(manifest.files)
    digests = {name: target.put(f"{to}/{name}", [read_file(source, folder, manifest, name)]) for name in names}
    commit(target, to, digests, manifest.facts)


def remove(storage: Storage, folder: str) -> None:
    """Delete a folder, its manifest first: what is left where this is cut short looks like what it is, no whole."""
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
