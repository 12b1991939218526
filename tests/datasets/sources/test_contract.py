"""The contract of every source: files are listed without their content, and fetched one by one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stoker.datasets.sources.https import HttpsSource
from stoker.datasets.sources.huggingface import HuggingFaceSource
from stoker.datasets.sources.path import PathSource
from stoker.datasets.sources.s3 import S3Source
from stoker.datasets.sources.source import Source
from stoker.errors import JobError

TREE = {"a.csv": b"x,y\n1,2\n", "deep/er/b b.csv": b"x,y\n3,4\n"}
Make = Callable[[dict[str, bytes]], Source]


class SourceContract:
    """One folder with two files; each source subclasses it."""

    def test_files_are_listed_and_fetched(self, make: Make, tmp_path: Path):
        source = make(TREE)
        files = {file.name: file for file in source.files()}
        assert {name: file.size for name, file in files.items()} == {name: len(text) for name, text in TREE.items()}
        for number, (name, content) in enumerate(TREE.items()):
            source.fetch(files[name], target := tmp_path / f"target-{number}")
            assert target.read_bytes() == content

    def test_a_version_is_stable_until_the_content_changes(self, make: Make):
        first = {file.name: file.version for file in make(TREE).files()}
        again = {file.name: file.version for file in make(TREE).files()}
        changed = {file.name: file.version for file in make({**TREE, "a.csv": b"x,y\n5,6\n"}).files()}
        assert all(first.values())
        assert first == again
        assert changed["a.csv"] != first["a.csv"]
        assert changed["deep/er/b b.csv"] == first["deep/er/b b.csv"]

    def test_an_empty_source_is_a_job_error(self, make: Make):
        with pytest.raises(JobError, match=r"dataset\.source: .*no (files|objects) "):
            make({}).files()


class TestPath(SourceContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        folder = tmp_path / "data"
        folder.mkdir()

        def make(tree: dict[str, bytes]) -> Source:
            for name, content in tree.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists() or path.read_bytes() != content:
                    path.write_bytes(content)
            return PathSource(str(folder))

        return make


class TestS3(SourceContract):
    @pytest.fixture
    def make(self, put: Callable[..., None]) -> Make:
        def make(tree: dict[str, bytes]) -> Source:
            put({f"pets/{name}": content for name, content in tree.items()})
            return S3Source("s3://datasets/pets/")

        return make


class TestHuggingFace(SourceContract):
    @pytest.fixture
    def make(self, hub) -> Make:
        def make(tree: dict[str, bytes]) -> Source:
            hub._entries.clear()
            for number, (name, content) in enumerate(tree.items()):
                hub.add(name, content, large=bool(number))
            return HuggingFaceSource("hf://datasets/team/pets")

        return make


class TestWeb:
    """A web server only has single files."""

    def test_the_file_is_listed_and_fetched(self, web, tmp_path: Path):
        web.files["/data/a b.csv"] = TREE["a.csv"]
        source = HttpsSource(f"{web.url}/data/a%20b.csv")
        (file,) = source.files()
        assert (file.name, file.size, file.is_source) == ("a b.csv", 8, True)
        source.fetch(file, target := tmp_path / "target")
        assert target.read_bytes() == TREE["a.csv"]
        version = file.version
        web.files["/data/a b.csv"] = b"x,y\n5,6\n"
        assert source.files()[0].version != version
