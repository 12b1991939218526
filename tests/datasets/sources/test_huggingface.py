"""Files and errors of the Hugging Face Hub."""

import subprocess
import sys
from pathlib import Path

import pytest

from stoker.datasets.sources.huggingface import HuggingFaceSource
from stoker.errors import JobError, StokerError, StorageError, Unreachable

CONTENT = bytes(range(256)) * 4096


def refusal(url: str = "hf://datasets/team/pets") -> StokerError:
    with pytest.raises(StokerError) as caught:
        HuggingFaceSource(url, patience_s=0).files()
    return caught.value


def test_a_path_is_a_file_or_a_folder(hub):
    hub.add("data/a.csv", b"1")
    hub.add("data/b.csv", b"22", large=True)
    (file,) = HuggingFaceSource("hf://datasets/team/pets@v1.0/data/b.csv").files()
    assert (file.name, file.size, file.is_source) == ("b.csv", 2, True)
    files = HuggingFaceSource("hf://datasets/team/pets/data").files()
    assert [(each.name, each.is_source) for each in files] == [("a.csv", False), ("b.csv", False)]


def test_a_large_file_declares_its_checksum(hub):
    hub.add("small.csv", b"1")
    hub.add("large.csv", b"22", large=True)
    small, large = HuggingFaceSource("hf://datasets/team/pets").files()
    assert (small.sha256, small.version[:4]) == ("", "git:")
    assert large.version == f"sha256:{large.sha256}"


def test_an_interrupted_download_resumes_where_it_stopped(hub, tmp_path: Path):
    hub.add("a.bin", CONTENT)
    (file,) = (source := HuggingFaceSource("hf://datasets/team/pets")).files()
    hub.server.faults = ["cut"]
    source.fetch(file, target := tmp_path / "target")
    assert target.read_bytes() == CONTENT
    assert hub.server.gets(hub.place("a.bin")) == ["", f"bytes={len(CONTENT) // 2}-"]


def test_a_missing_dataset_is_reported(hub):
    hub.refuse("RepoNotFound", 404)
    error = refusal()
    assert isinstance(error, JobError)
    assert f"there is no dataset 'team/pets' at {hub.server.url}, or it is private; correct the name, or" in str(error)


def test_a_missing_revision_is_reported(hub):
    hub.refuse("RevisionNotFound", 404, revision="v9")
    error = refusal("hf://datasets/team/pets@v9")
    assert isinstance(error, JobError)
    assert "'hf://datasets/team/pets@v9' has no revision 'v9'; correct it or leave it out" in str(error)


def test_a_missing_path_in_the_dataset_is_reported(hub):
    hub.add("a.csv", b"1")
    tree = "/api/datasets/team/pets/tree/c0ffee" + "0" * 34 + "/nowhere"
    hub.server.answers[tree] = lambda _: (404, {"X-Error-Code": "EntryNotFound"}, b"{}")
    error = refusal("hf://datasets/team/pets/nowhere")
    assert isinstance(error, JobError)
    assert "there is no 'nowhere' in" in str(error)


def test_a_gated_dataset_is_reported_with_its_page(hub):
    hub.refuse("GatedRepo", 403)
    error = refusal()
    assert isinstance(error, StorageError)
    assert f"access is by request; ask at {hub.server.url}/datasets/team/pets, then set HF_TOKEN" in str(error)


def test_denied_access_is_reported(hub):
    hub.refuse("", 403)
    error = refusal()
    assert isinstance(error, StorageError)
    assert "hf://datasets/team/pets: access is denied (403); set HF_TOKEN or log in" in str(error)


def test_a_hub_that_does_not_answer_is_reported(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    error = refusal()
    assert isinstance(error, Unreachable)
    assert "http://127.0.0.1:1 does not answer" in str(error)


def test_a_missing_library_is_reported_with_its_installation():
    code = """
import sys
sys.modules["huggingface_hub"] = None  # as if it were not installed
from stoker.cli.main import main
from stoker.datasets.cache import local_path
from stoker.errors import ClusterError
try:
    local_path("hf://datasets/team/pets")
except ClusterError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "hf://datasets/team/pets: huggingface_hub is not installed here; pip install 'stoker[huggingface]'\n"
    )


@pytest.mark.parametrize(
    ("source", "repository", "revision", "path"),
    [
        ("hf://datasets/team/pets", "team/pets", "main", ""),
        ("hf://datasets/team/pets@v1.0/data/train.csv", "team/pets", "v1.0", "data/train.csv"),
        (
            "hf://datasets/a.b/c-d@refs/convert/parquet/default/train",
            "a.b/c-d",
            "refs/convert/parquet",
            "default/train",
        ),
        ("hf://datasets/team/pets@feature%2Fx/", "team/pets", "feature/x", ""),
    ],
)
def test_an_address_has_a_revision_and_a_path(source, repository, revision, path):
    assert HuggingFaceSource.problem(source) == ""
    found = HuggingFaceSource(source)
    assert (found._repository, found._revision, found._path) == (repository, revision, path)


@pytest.mark.parametrize("source", ["hf://team/pets", "hf://datasets/pets", "hf://models/team/pets", "hf://"])
def test_the_syntax_is_checked_without_network(source):
    expected = f"'{source}' is not a dataset of the Hub; write hf://datasets/OWNER/NAME, then @REVISION and /PATH"
    assert HuggingFaceSource.problem(source).startswith(expected)
