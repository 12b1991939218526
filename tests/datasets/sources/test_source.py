"""Names in a listing, and addresses in a job."""

import subprocess
import sys

import pytest

from stoker.datasets.sources.schemes import is_remote, open_source, remote_problem
from stoker.datasets.sources.source import RemoteFile, check_names
from stoker.errors import JobError


def listed(*names: str) -> list[RemoteFile]:
    return [RemoteFile(name, 1, "1") for name in names]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../x", "leaves the folder of the source"),
        ("a/../../x", "leaves the folder of the source"),
        ("/etc/passwd", "is an absolute path"),
        ("C:/x", "is an absolute path"),
        ("a\\..\\x", "holds a character that file names cannot have"),
        ("a\0b", "holds a character that file names cannot have"),
        ("a//b", "has an empty part between its slashes"),
        ("", "has an empty part between its slashes"),
        ("./a", "has '.' as a part"),
        ("é" * 128, "has a part longer than 255 bytes"),
    ],
)
def test_a_name_that_would_leave_its_folder_is_refused(name, reason):
    with pytest.raises(JobError) as caught:
        check_names("s3://bucket/x/", listed("fine.csv", name))
    assert str(caught.value) == (
        f"dataset.source: 's3://bucket/x/' lists {name!r}, which {reason}; rename or remove that file"
    )


def test_a_file_cannot_be_a_folder_too():
    with pytest.raises(JobError, match="lists both the file 'a' and 'a/b', which needs a folder of that name"):
        check_names("s3://bucket/x/", listed("a/b", "a"))


def test_a_name_is_listed_once():
    with pytest.raises(JobError, match="lists 'a' twice"):
        check_names("s3://bucket/x/", listed("a", "b", "a"))


def test_usual_names_are_accepted():
    check_names("s3://bucket/x/", listed("a.csv", "b/a.csv", "..b/...", "Ärger 100%.csv", "~", "-x"))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("s3://bucket/x", ""),
        ("s4://bucket/x", "'s4://' is unknown; did you mean 's3://'?"),
        ("htps://host/x", "'htps://' is unknown; did you mean 'https://'?"),
        ("azure://x/y", "'azure://' is unknown; known are s3://, https://, http://, hf://"),
        ("https:/host/x.csv", "'https:/' lacks a slash; write https://"),
        ("S3://bucket/x", "'S3://' is unknown; did you mean 's3://'?"),
    ],
)
def test_an_unknown_scheme_suggests_a_similar_one(source, problem):
    assert remote_problem(source) == problem
    if problem:
        with pytest.raises(JobError):
            open_source(source)


@pytest.mark.parametrize("source", ["data/x.csv", "digits", "C:/x.csv", "a:b", "*.csv"])
def test_paths_are_not_remote(source):
    assert not is_remote(source)


def test_opening_a_source_imports_no_library():
    code = """
import sys
from stoker.datasets.sources.schemes import open_source
for source in ("s3://bucket/x", "https://host/x.csv", "hf://datasets/a/b", "x.csv", "*.csv"):
    open_source(source)
print([name for name in ("boto3", "requests", "huggingface_hub", "numpy", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
