"""The contract of every format, also for damaged files."""

import gzip
import io
import json
import struct
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.formats.format_inference import infer_format
from stoker.datasets.formats.reading import READERS
from stoker.datasets.inspection import inspect
from stoker.datasets.loading import load_dataset, read_source
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.formats import Format
from stoker.job.task import TASKS, TaskName

SAMPLES = 20
TIMES = 12
"""Number of random damages to the files of each format."""


def frame(seed: int) -> pd.DataFrame:
    numbers = np.random.default_rng(seed).normal(size=SAMPLES)
    return pd.DataFrame({"x": numbers, "kind": list("pq") * 10, "y": list("aabb") * 5})


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SAMPLES, 16, 16), np.uint8)


def write_shard(path: Path, samples: dict[str, dict[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for key, files in samples.items():
            for extension, content in files.items():
                entry = tarfile.TarInfo(f"{key}.{extension}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "other content": lambda data: b"\x80\x81 this is something else",
}


class FormatContract(ABC):
    """Subclassed once per format."""

    name: Format
    task: TaskName = "tabular-classification"
    label: str | None = None
    binary = True
    """Whether all of DAMAGES are detected; half a text is still a text."""

    @abstractmethod
    def write(self, folder: Path, seed: int = 0) -> Path:
        """Write SAMPLES samples; return the source."""

    def dataset(self, source: Path) -> Dataset:
        return Dataset.model_validate({"source": str(source), "columns": {"label": self.label}})

    def load(self, source: Path) -> LoadedDataset:
        return load_dataset(self.dataset(source), TASKS[self.task])

    def files(self, source: Path) -> list[Path]:
        return sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        (tmp_path / "data").mkdir()
        return self.write(tmp_path / "data")

    def test_its_format_is_inferred_from_its_name_or_content(self, source: Path):
        assert infer_format(source) == self.name
        assert read_source(self.dataset(source))[1] == self.name

    def test_good_data_have_no_problem(self, source: Path):
        assert inspect(None, self.dataset(source), self.task) == []

    def test_every_sample_is_in_one_part(self, source: Path):
        data = self.load(source)
        ids = torch.cat([part.ids for part in data.parts.values()])
        assert sorted(ids.tolist()) == list(range(SAMPLES))
        for part in data.parts.values():
            assert part.target is not None
            assert len(part.target) == len(part)
            assert {len(column) for column in part.inputs.values()} == {len(part)}

    def test_inferred_values_reproduce_the_dataset(self, source: Path):
        data = self.load(source)
        again = load_dataset(data.spec, TASKS[self.task])
        assert again.spec == data.spec
        assert again.fields == data.fields
        assert again.fingerprint == data.fingerprint

    def test_the_fingerprint_is_that_of_the_content(self, source: Path, tmp_path: Path):
        before = self.load(source).fingerprint
        (tmp_path / "again").mkdir()
        assert self.load(self.write(tmp_path / "again", seed=0)).fingerprint == before
        assert self.load(self.write(tmp_path / "again", seed=1)).fingerprint != before

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_file_is_named(self, source: Path, damage: str):
        for file in self.files(source)[:: max(1, len(self.files(source)) // 4)]:
            content = file.read_bytes()
            file.write_bytes(DAMAGES[damage](content))
            message = self.outcome(source)
            if self.binary:
                assert file.name in message, file
            file.write_bytes(content)

    def test_damage_only_raises_job_errors(self, source: Path):
        rng = np.random.default_rng(0)
        files = self.files(source)
        for _ in range(TIMES):
            file = files[rng.integers(len(files))]
            content = file.read_bytes()
            damaged = bytearray(content)
            for place in rng.integers(0, len(content), rng.integers(1, 9)):
                damaged[place] = rng.integers(256)
            file.write_bytes(damaged[: len(damaged) - rng.integers(0, 4)])
            self.outcome(source)
            file.write_bytes(content)

    def test_an_unreadable_file_is_reported(self, source: Path):
        file = self.files(source)[0]
        file.unlink()
        file.mkdir()
        self.outcome(source)

    def outcome(self, source: Path) -> str:
        """Validate and load; return the error message, if any."""
        for problem in inspect(None, self.dataset(source), self.task):
            assert problem.path.startswith("dataset.")
        try:
            self.load(source)
        except JobError as error:
            return str(error)
        return ""


class TestCsv(FormatContract):
    name, label, binary = "csv", "y", False

    def write(self, folder: Path, seed: int = 0) -> Path:
        frame(seed).to_csv(folder / "a.csv", index=False)
        return folder / "a.csv"


class TestPackedCsv(FormatContract):
    name, label = "csv", "y"

    def write(self, folder: Path, seed: int = 0) -> Path:
        (folder / "a.tsv.gz").write_bytes(gzip.compress(frame(seed).to_csv(index=False, sep="\t").encode()))
        return folder / "a.tsv.gz"


class TestJsonLines(FormatContract):
    name, label, binary = "jsonl", "y", False

    def write(self, folder: Path, seed: int = 0) -> Path:
        lines = [json.dumps(row) for row in frame(seed).to_dict("records")]
        (folder / "a.jsonl").write_text("\n".join(lines))
        return folder / "a.jsonl"


class TestParquet(FormatContract):
    name, label = "parquet", "y"

    def write(self, folder: Path, seed: int = 0) -> Path:
        frame(seed).to_parquet(folder / "a.parquet")
        return folder / "a.parquet"


class TestManyFiles(FormatContract):
    name, label = "parquet", "y"

    def write(self, folder: Path, seed: int = 0) -> Path:
        for part, rows in {"train": slice(0, 12), "dev": slice(12, 16), "test": slice(16, 20)}.items():
            frame(seed)[rows].to_parquet(folder / f"{part}.parquet")
        return folder


class TestParallel(FormatContract):
    name, task, label, binary = "parallel", "translation", "de", False

    def write(self, folder: Path, seed: int = 0) -> Path:
        draw = np.random.default_rng(seed)
        for part, count in {"train": 12, "dev": 4, "test": 4}.items():
            words = draw.choice(["one", "two", "three"], (count, 4))
            for language, ending in {"en": "", "de": "o"}.items():
                lines = "\n".join(" ".join(f"{word}{ending}" for word in row) for row in words)
                (folder / f"{part}.{language}.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
        return folder


class TestIdx(FormatContract):
    name, task = "idx", "image-classification"

    def write(self, folder: Path, seed: int = 0) -> Path:
        for name, array in {"images-idx3": noise(seed), "labels-idx1": np.arange(SAMPLES, dtype=np.uint8) % 2}.items():
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / f"train-{name}-ubyte").write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())
        return folder


class TestNpz(FormatContract):
    name, task = "npz", "image-classification"

    def write(self, folder: Path, seed: int = 0) -> Path:
        np.savez_compressed(folder / "a.npz", image=noise(seed), label=np.array(["a", "b"] * 10))
        return folder / "a.npz"


class TestConll(FormatContract):
    name, task, binary = "conll", "token-classification", False

    def write(self, folder: Path, seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        sentence = [f"{word} {word[0].upper()}\n" for word in rng.choice(["ann", "bob", "oslo"], 4)]
        (folder / "a.conll").write_text("\n".join(["".join([*sentence, "ann A\n"])] * SAMPLES))
        return folder / "a.conll"


class TestSquad(FormatContract):
    name, task = "squad", "question-answering"

    def write(self, folder: Path, seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        paragraphs = []
        for words in rng.choice(["ann", "bob", "oslo"], (SAMPLES // 2, 4)):
            answers = [{"text": words[2], "answer_start": len(" ".join([*words[:2], ""]))}]
            asked = [{"question": "who?", "id": "1", "answers": answers, "is_impossible": False}]
            asked.append({"question": "when?", "id": "2", "answers": [], "is_impossible": True})
            paragraphs.append({"context": " ".join(words), "qas": asked})
        content = {"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}
        (folder / "a.json").write_text(json.dumps(content))
        return folder / "a.json"


class TestImageFolder(FormatContract):
    name, task = "image-folder", "image-classification"

    def write(self, folder: Path, seed: int = 0) -> Path:
        for number, pixels in enumerate(noise(seed)):
            path = folder / "ab"[number % 2] / f"number-{number}.{'png' if number % 3 else 'jpg'}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
        return folder


class TestImageMask(FormatContract):
    name, task = "image-mask", "segmentation"

    def write(self, folder: Path, seed: int = 0) -> Path:
        for name, images in {"images": noise(seed), "masks": (noise(seed) > 99).astype(np.uint8)}.items():
            (folder / name).mkdir(exist_ok=True)
            for number, pixels in enumerate(images):
                Image.fromarray(pixels).save(folder / name / f"number-{number}.png")
        return folder


class TestImageText(FormatContract):
    name, task, binary = "image-text", "image-captioning", False

    def write(self, folder: Path, seed: int = 0) -> Path:
        for number, pixels in enumerate(noise(seed)):
            Image.fromarray(pixels).save(folder / f"number-{number}.png")
            (folder / f"number-{number}.txt").write_text(f"picture {number}\n")
        return folder


class TestCocoCaptions(FormatContract):
    name, task = "coco-captions", "image-captioning"

    def write(self, folder: Path, seed: int = 0) -> Path:
        (folder / "images").mkdir(exist_ok=True)
        for number, pixels in enumerate(noise(seed)):
            Image.fromarray(pixels).save(folder / "images" / f"number-{number}.png")
        content = {
            "images": [{"id": number, "file_name": f"number-{number}.png"} for number in range(SAMPLES)],
            "annotations": [{"image_id": number, "caption": f"picture {number}"} for number in range(SAMPLES)],
        }
        (folder / "captions_all.json").write_text(json.dumps(content))
        return folder


class TestWebDataset(FormatContract):
    name, task = "webdataset", "image-classification"

    def write(self, folder: Path, seed: int = 0) -> Path:
        for shard, begin in (("0000", 0), ("0001", 12)):
            some = range(begin, min(begin + 12, SAMPLES))
            files = {f"{i:03}": {"png": png(noise(seed)[i]), "cls": b"ab"[i % 2 : i % 2 + 1]} for i in some}
            write_shard(folder / f"{shard}.tar", files)
        return folder


class TestPathsInATable(FormatContract):
    name, task, label, binary = "csv", "image-classification", "y", False

    def write(self, folder: Path, seed: int = 0) -> Path:
        TestImageFolder().write(folder, seed)
        paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("number-*"))
        pd.DataFrame({"path": paths, "y": [path[0] for path in paths]}).to_csv(folder / "a.csv", index=False)
        return folder / "a.csv"


class TestVoc(FormatContract):
    name, task = "voc", "object-detection"

    def write(self, folder: Path, seed: int = 0) -> Path:
        for name in ("JPEGImages", "Annotations"):
            (folder / name).mkdir(exist_ok=True)
        for number, pixels in enumerate(noise(seed)):
            Image.fromarray(pixels).save(folder / "JPEGImages" / f"{number}.png")
            sides = f"<xmin>1</xmin><ymin>2</ymin><xmax>{number % 9 + 3}</xmax><ymax>9</ymax>"
            text = f"<annotation><object><name>a</name><bndbox>{sides}</bndbox></object></annotation>"
            (folder / "Annotations" / f"{number}.xml").write_text(text)
        return folder


class TestCoco(FormatContract):
    name, task = "coco", "object-detection"

    def dataset(self, source: Path) -> Dataset:
        return Dataset(source=str(source), format="coco")  # a damaged file is not known as such

    def write(self, folder: Path, seed: int = 0) -> Path:
        (folder / "images").mkdir(exist_ok=True)
        for number, pixels in enumerate(noise(seed)):
            Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        content = {
            "images": [{"id": number, "file_name": f"{number}.png"} for number in range(SAMPLES)],
            "annotations": [
                {"image_id": number, "category_id": 1, "bbox": [1, 1, 3 + number % 9, 5]} for number in range(SAMPLES)
            ],
            "categories": [{"id": 1, "name": "a"}],
        }
        (folder / "boxes.json").write_text(json.dumps(content))
        return folder


class TestYolo(FormatContract):
    """An empty file of labels is one of a picture without objects, and half a file has fewer."""

    name, task, binary = "yolo", "object-detection", False

    def write(self, folder: Path, seed: int = 0) -> Path:
        for name in ("images", "labels"):
            (folder / name).mkdir(exist_ok=True)
        for number, pixels in enumerate(noise(seed)):
            Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
            (folder / "labels" / f"{number}.txt").write_text(f"0 0.5 0.5 {0.1 + number / 40} 0.4\n")
        (folder / "classes.txt").write_text("a\n")
        return folder


def test_every_format_keeps_the_contract():
    kept = {each.name for each in FormatContract.__subclasses__()}
    named = {"text", "coco-masks"}
    assert kept == {*READERS} - named, "plain text has no label, and masks from COCO are read where a job says so"


def huge_png(width: int, height: int) -> bytes:
    """Return a PNG whose header declares more pixels than it has."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


class TestAnImageBomb:
    @pytest.fixture(params=[(60_000, 60_000), (2**31 - 1, 2**31 - 1)])
    def bomb(self, request: pytest.FixtureRequest) -> Iterator[bytes]:
        return huge_png(*request.param)

    def test_in_an_image_folder_is_named(self, tmp_path: Path, bomb: bytes):
        contract = TestImageFolder()
        (contract.write(tmp_path) / "a" / "number-4.png").write_bytes(bomb)
        assert "cannot read a/number-4.png (larger than" in contract.outcome(tmp_path)

    def test_among_masks_is_named(self, tmp_path: Path, bomb: bytes):
        contract = TestImageMask()
        (contract.write(tmp_path) / "masks" / "number-4.png").write_bytes(bomb)
        assert "cannot read masks/number-4.png (larger than" in contract.outcome(tmp_path)
