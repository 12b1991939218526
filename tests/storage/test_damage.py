"""Every change to the bytes of a committed folder is detected when it is read."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker.errors import Damaged
from stoker.storage import MANIFEST, FolderStorage, Storage, commit, read_file, read_manifest

FLIPS = 200
FACTS = {"step": 1200, "best": 0.25, "name": "naïve", "history": [1.5, float("inf"), None, True]}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A committed folder with files of several sizes."""
    storage = FolderStorage(tmp_path)
    draw = random.Random(0)
    names = {"empty": 0, "one": 1, "rank-0.safetensors": 3000, "rank-1/state.json": 70}
    files = {name: storage.put(f"run/{name}", [draw.randbytes(size)]) for name, size in names.items()}
    commit(storage, "run", files, FACTS)
    return tmp_path / "run"


def load(folder: Path) -> dict[str, Any]:
    """Return the facts and files of a committed folder."""
    storage = FolderStorage(folder.parent)
    manifest = read_manifest(storage, folder.name)
    return manifest.facts | {name: read_file(storage, folder.name, manifest, name) for name in manifest.files}


def flipped(content: bytes, bit: int) -> bytes:
    """Return the content with one bit flipped."""
    place, mask = bit // 8, 1 << bit % 8
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


def variants_of(content: bytes) -> Iterator[bytes]:
    """Yield a file truncated to every length (a long one to some), and extended."""
    yield from (content[:length] for length in range(0, len(content), 1 + len(content) // 1500))
    yield content + b"\n"
    yield content + b"\0"


def test_an_untouched_folder_loads(folder: Path) -> None:
    assert load(folder)["step"] == 1200
    assert load(folder)["history"] == FACTS["history"]
    assert len(load(folder)["rank-0.safetensors"]) == 3000


def test_every_flipped_bit_is_detected(folder: Path) -> None:
    draw = random.Random(1)
    files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    assert len(files) == 4
    for number in range(FLIPS):
        path = files[number % len(files)]
        content = path.read_bytes()
        bit = draw.randrange(8 * len(content))
        path.write_bytes(flipped(content, bit))
        with pytest.raises(Damaged, match=path.name):
            load(folder)
        path.write_bytes(content)
    load(folder)


def test_every_flipped_bit_of_a_manifest_is_detected(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    commit(storage, "run", {"f": storage.put("run/f", [b"x"])}, {"step": 1})
    path = tmp_path / "run" / MANIFEST
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        path.write_bytes(flipped(content, bit))
        with pytest.raises(Damaged):
            read_manifest(storage, "run")


@pytest.mark.parametrize("name", [MANIFEST, "empty", "one", "rank-0.safetensors", "rank-1/state.json"])
def test_every_changed_length_is_detected(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    for variant in variants_of(content):
        path.write_bytes(variant)
        with pytest.raises(Damaged, match=path.name):
            load(folder)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b'{"content":{"facts":{},"files":{}}}',
        b'{"content":{"facts":{},"files":{}},"sha256":""}',
        b'{ "content":{"facts":{},"files":{}}}',
        b"\xff\xfe{}",
    ],
)
def test_a_manifest_that_commit_did_not_write_is_damaged(folder: Path, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)

    with pytest.raises(Damaged, match=MANIFEST):
        load(folder)


def test_an_equivalent_manifest_with_other_bytes_is_damaged(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(Damaged):
        load(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(facts=st.dictionaries(st.text(), json_values))
def test_any_json_facts_are_read_back(tmp_path: Path, facts: dict[str, Any]) -> None:
    storage: Storage = FolderStorage(tmp_path)
    commit(storage, "run", {}, facts)

    assert read_manifest(storage, "run").facts == facts


def test_facts_are_read_back_with_jsons_types(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    commit(storage, "run", {}, {"losses": {10: 0.5, 9: 0.25}, "shape": (1, 2)})

    assert read_manifest(storage, "run").facts == {"losses": {"10": 0.5, "9": 0.25}, "shape": [1, 2]}
