import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.feeding.batches import Batches, ordered_batches
from stoker.datasets.feeding.order import BLOCK_SHARDS
from stoker.datasets.feeding.prefetch import lazy_columns
from stoker.datasets.feeding.shards import OPEN_SHARDS, find_shards, index_text
from stoker.datasets.loading import load_dataset
from stoker.errors import JobError
from stoker.job.dataset import Dataset
from stoker.job.task import TASKS
from stoker.jobfile.loading import load_job

SHARDS, EACH = 24, 5
SHARD_BYTES = 60_000
Files = dict[str, bytes]


def shard(begin: int, count: int = EACH, padding: int = 0) -> bytes:
    """Pack images whose pixels encode their numbers, and an unused file that makes the archive larger."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for number in range(begin, begin + count):
            picture = io.BytesIO()
            Image.fromarray(np.full((4, 5), number, np.uint8)).save(picture, "png")
            files = {"png": picture.getvalue(), "cls": b"odd\n" if number % 2 else b"even", "bin": b"\0" * padding}
            for extension, data in files.items():
                entry = tarfile.TarInfo(f"{number:03}.{extension}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def shards(prefix: str = "", padding: int = 0) -> Files:
    return {f"{prefix}{number:02}.tar": shard(number * EACH, padding=padding) for number in range(SHARDS)}


def index(files: Files) -> bytes:
    entries = [{"url": name.rpartition("/")[2], "nsamples": EACH} for name in files]
    return json.dumps({"wids_version": 1, "shardlist": entries}).encode()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STOKER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    for name, content in shards().items():
        (place / name).write_bytes(content)
    return place


def load(source: object, **keys: Any) -> LoadedDataset:
    section = {"source": str(source), "loading": "streaming", **keys}
    return load_dataset(Dataset.model_validate(section), TASKS["image-classification"])


def batches(data: LoadedDataset, share: range = range(7), processes: int = 0) -> Batches:
    return Batches(data.parts["train"], data.fields, 7, 4, ("flip",), 3, share, processes=processes)


def epoch(made: Batches, number: int = 0, start: int = 0) -> list[tuple[list[int], torch.Tensor]]:
    found = []
    for step in made.epoch(number, start):
        parts = [batch for batch, _ in step.micro_batches]
        ids = [each for batch in parts for each in batch.ids.tolist()]
        found.append((ids, torch.cat([batch.inputs["image"] for batch in parts])))
    return found


class TestAFolderOfShards:
    def test_every_sample_is_in_one_part_with_its_image_and_label(self, folder: Path):
        data = load(folder)
        seen: list[int] = []
        for part, samples in data.parts.items():
            for batch in ordered_batches(samples, data.fields, 8):
                pixels = data.fields.image.pixels(batch.inputs["image"])[:, 0, 0, 0]
                assert pixels.tolist() == batch.ids.tolist()
                assert batch.target is not None
                assert batch.target.tolist() == [number % 2 for number in batch.ids.tolist()]
                seen += batch.ids.tolist()
            assert data.counts[part] == {"": len(samples)}
        assert sorted(seen) == list(range(SHARDS * EACH))
        assert set(data.parts) == {"train", "val", "test"}

    def test_no_sample_is_in_memory(self, folder: Path):
        samples = load(folder).parts["train"]
        assert len(lazy_columns(samples)) == 2
        assert samples.nbytes == samples.ids.nbytes

    def test_a_shard_stays_in_one_part(self, folder: Path):
        parts = [set((samples.ids // EACH).tolist()) for samples in load(folder).parts.values()]
        assert sum(map(len, parts)) == len(set.union(*parts)) == SHARDS

    def test_an_epoch_has_each_sample_once_in_another_order_each_time(self, folder: Path):
        made = batches(load(folder))
        first, second = ([each for ids, _ in epoch(made, number) for each in ids] for number in (0, 1))
        assert sorted(first) == sorted(second) == sorted(load(folder).parts["train"].ids.tolist())
        assert first != second

    def test_consecutive_steps_need_few_shards(self, folder: Path):
        steps = [ids for ids, _ in epoch(batches(load(folder)))]
        for begin in range(len(steps) - 2):
            needed = {each // EACH for ids in steps[begin : begin + 2] for each in ids}
            assert len(needed) <= 2 * BLOCK_SHARDS

    def test_the_samples_of_a_block_are_shuffled(self, folder: Path):
        ids, _ = epoch(batches(load(folder)))[0]
        assert len({each // EACH for each in ids}) > 1

    def test_it_resumes_in_the_middle_of_an_epoch_with_the_same_steps(self, folder: Path):
        whole = epoch(batches(load(folder)), 2)
        rest = epoch(batches(load(folder)), 2, start=5)
        for (ids, images), (same, equal) in zip(whole[5:], rest, strict=True):
            assert ids == same
            assert torch.equal(images, equal)

    def test_two_workers_see_what_one_sees(self, folder: Path):
        whole = epoch(batches(load(folder)))
        halves = [epoch(batches(load(folder), share)) for share in (range(4), range(4, 7))]
        for (ids, images), *parts in zip(whole, *halves, strict=True):
            assert ids == [each for some, _ in parts for each in some]
            assert torch.equal(images, torch.cat([each for _, each in parts]))

    def test_prefetching_processes_decode_the_same(self, folder: Path):
        whole = epoch(batches(load(folder)))
        ahead = epoch(batches(load(folder), processes=1))
        for (ids, images), (same, equal) in zip(whole, ahead, strict=True):
            assert ids == same
            assert torch.equal(images, equal)

    def test_loaded_as_a_whole_it_has_the_same_samples(self, folder: Path):
        whole = load(folder, loading="resident", image={"size": [4, 5]})
        ids = torch.cat([part.ids for part in whole.parts.values()])
        assert sorted(ids.tolist()) == list(range(SHARDS * EACH))
        assert whole.fields.target == load(folder).fields.target

    def test_names_of_shards_contain_the_parts(self, folder: Path):
        for number in range(SHARDS):
            part = "train" if number < 20 else "val" if number < 22 else "test"
            (folder / f"{number:02}.tar").rename(folder / f"{part}-{number:02}.tar")
        data = load(folder)
        assert {part: len(samples) for part, samples in data.parts.items()} == {"train": 100, "val": 10, "test": 10}

    def test_inferred_values_reproduce_the_dataset(self, folder: Path):
        data = load(folder)
        again = load_dataset(data.spec, TASKS["image-classification"])
        assert (again.spec, again.fields, again.fingerprint) == (data.spec, data.fields, data.fingerprint)

    def test_a_process_keeps_few_shards_open(self, folder: Path):
        found = find_shards(Dataset.model_validate({"source": str(folder), "loading": "streaming"}))
        assert found is not None
        for number in range(SHARDS):
            found[0].open(number)
        assert len(found[0]._open) == OPEN_SHARDS


class TestWhatIsWrong:
    def message(self, source: object, **keys: Any) -> str:
        with pytest.raises(JobError) as error:
            epoch(batches(load(source, **keys)))
        return str(error.value)

    def test_a_class_that_the_first_shard_lacks_is_named_with_the_cure(self, folder: Path):
        content = shard(30).replace(b"even", b"evil")
        (folder / "06.tar").write_bytes(content)
        message = self.message(folder, split="none")
        assert "'evil' is none of the classes that training knows" in message
        assert "name all classes in dataset.columns.classes" in message
        data = load(folder, split="none", format="webdataset", columns={"classes": ["even", "evil", "odd"]})
        assert len(epoch(batches(data))) == -(-SHARDS * EACH // 7)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "cannot read '07.tar': it is empty"),
            (shard(35)[:2000], "cannot read '07.tar': not a whole tar archive"),
            (shard(35)[: -20 * 512], "cannot read '07.tar': it ends too early"),
            (b"\x1f\x8b\x08" + bytes(600), "cannot read '07.tar': it is compressed"),
            (shard(35, count=0), "the archive '07.tar' holds no samples; remove it, or pack it again"),
            (shard(35, count=3), "3 samples are in 07.tar, and 5 by the index; write the index again"),
        ],
    )
    def test_a_broken_shard_is_named_when_a_step_needs_it(self, folder: Path, content: bytes, expected: str):
        (folder / "shards.json").write_bytes(index(shards()))
        (folder / "07.tar").write_bytes(content)
        assert expected in self.message(folder, split="none")

    def test_an_image_that_cannot_be_decoded_is_named(self, folder: Path):
        (folder / "07.tar").write_bytes(shard(35).replace(b"\x89PNG", b"\x00PNG", 1))
        assert "cannot read 07.tar/035.png (not an image)" in self.message(folder, split="none")

    def test_an_index_that_lacks_a_shard_is_named(self, folder: Path):
        (folder / "shards.json").write_bytes(index({"00.tar": b""}))
        assert "the index shards.json lacks 01.tar" in self.message(folder)

    def test_data_without_shards_cannot_be_streamed(self, tmp_path: Path):
        (tmp_path / "a.csv").write_text("x,y\n1,2\n")
        assert "does not consist of tar archives" in self.message(tmp_path / "a.csv")
        assert "does not consist of tar archives" in self.message("digits")

    @pytest.mark.parametrize(
        "keys",
        [
            {"columns": {"weight": "w"}},
            {"columns": {"group": "g"}},
            {"split": {"column": "p"}},
            {"split": {"time": "t"}},
        ],
    )
    def test_columns_that_need_all_samples_are_refused(self, folder: Path, keys: dict[str, Any]):
        assert "streamed samples have none" in self.message(folder, **keys)


def test_a_job_may_name_the_classes_of_its_shards(tmp_path: Path):
    dataset = "{source: %s, loading: streaming, columns: {classes: [0, 1]}}"
    for source in ("s3://bucket/shards/", "shards/0001.tar"):
        (tmp_path / "job.yaml").write_text(f"task: image-classification\ndataset: {dataset % source}\n")
        job = load_job(tmp_path / "job.yaml").job
        assert job.dataset.columns.classes == ("0", "1")


class TestABucketOfShards:
    SOURCE = "s3://datasets/pictures/"

    @pytest.fixture
    def bucket(self, put: Callable[..., None]) -> Files:
        files = shards("pictures/", padding=SHARD_BYTES // EACH)
        put({**files, "pictures/shards.json": index(files)})
        return files

    def here(self, cache: Path) -> int:
        """Count the shards on this machine, of which some may be deleted meanwhile."""
        found = 0
        for path in (cache / "blobs").glob("??/*"):
            with suppress(FileNotFoundError):
                found += path.stat().st_size >= SHARD_BYTES
        return found

    def test_loading_fetches_one_shard(self, bucket: Files, own_cache: Path):
        data = load(self.SOURCE)
        assert self.here(own_cache) == 1
        assert sum(map(len, data.parts.values())) == SHARDS * EACH

    def test_the_first_step_comes_before_the_whole_set_has_arrived(self, bucket: Files, own_cache: Path):
        steps = batches(load(self.SOURCE)).epoch(0)
        assert len(next(steps).micro_batches[0][0]) == 4
        assert self.here(own_cache) <= 1 + 2 * BLOCK_SHARDS < SHARDS
        steps.close()  # type: ignore[attr-defined]

    def test_the_samples_are_those_of_the_folder(self, bucket: Files, folder: Path):
        there, here = (epoch(batches(load(source))) for source in (self.SOURCE, folder))
        for (ids, images), (same, equal) in zip(there, here, strict=True):
            assert ids == same
            assert torch.equal(images, equal)

    def test_a_small_cache_never_holds_them_all(self, bucket: Files, own_cache: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("STOKER_CACHE_SIZE", f"{SHARD_BYTES * 4 / 2**20:.2f}MiB")
        held = []
        seen = []
        for step in batches(load(self.SOURCE, split="none")).epoch(0):
            seen += [each for batch, _ in step.micro_batches for each in batch.ids.tolist()]
            held.append(self.here(own_cache))
        assert sorted(seen) == list(range(SHARDS * EACH))
        assert max(held) <= OPEN_SHARDS + BLOCK_SHARDS + 1 < SHARDS

    def test_without_an_index_all_shards_are_read_once_to_count(
        self, bucket: Files, own_cache: Path, s3: Any, monkeypatch: pytest.MonkeyPatch
    ):
        s3.delete_object(Bucket="datasets", Key="pictures/shards.json")
        data = load(self.SOURCE)
        assert sum(map(len, data.parts.values())) == SHARDS * EACH
        assert any("no index" in note for note in data.notes)

    def test_large_shards_are_streamed_by_default(self, bucket: Files, monkeypatch: pytest.MonkeyPatch):
        assert load(self.SOURCE, loading="auto").spec.loading == "resident"
        monkeypatch.setattr("stoker.datasets.feeding.shards.RESIDENT_SHARE", 0.0)
        assert load(self.SOURCE, loading="auto").spec.loading == "streaming"


def test_a_written_index_can_be_read(folder: Path):
    section = Dataset.model_validate({"source": str(folder), "loading": "streaming"})
    (folder / "shards.json").write_text(index_text(section))
    found = find_shards(section)
    assert found is not None
    shards, note = found
    assert shards.counts == (EACH,) * SHARDS
    assert note == ""
