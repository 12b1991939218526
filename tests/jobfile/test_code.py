"""The user's code is found, checked without running it, and shipped."""

import os
import sys
from pathlib import Path

import pytest

from stoker.errors import JobError, Problem
from stoker.jobfile.code import FILE_LIMIT, SIZE_LIMIT_MB, code_files
from stoker.jobfile.loading import dump_job, load_job, parse_job

JOB = "task: image-classification\ndataset: digits\narchitecture: {family: custom, class: nets:Small}\n"
MODULE = """
raise RuntimeError("a check runs nothing")
from elsewhere import Imported
Alias = Imported
if Imported:
    class Nested: pass
class Small: "\\d"
class Large: pass
def function():
    inner = 1
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(MODULE)
    file = tmp_path / "job.yaml"
    file.write_text(JOB)
    return file


def no_data_problems(*_: object) -> list[Problem]:
    return []


def mistakes(file: Path, *sets: str, code: Path | None = None) -> list[str]:
    with pytest.raises(JobError) as raised:
        load_job(file, sets, no_data_problems, code)
    return [f"{p.line}:{p.column} {p.path} {p.message}".removesuffix(" (from --set)") for p in raised.value.problems]


@pytest.mark.parametrize("name", ["Small", "Nested", "Imported", "Alias"])
def test_a_class_may_be_defined_or_imported(job: Path, name: str):
    loaded = load_job(job, [f"architecture.class=nets:{name}"], no_data_problems)
    assert loaded.code == job.parent
    assert not {"nets", "elsewhere"} & set(sys.modules)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("nets:Smal", "no class 'Smal' in nets.py; did you mean 'Small'?"),
        ("nets:Transformer", "no class 'Transformer' in nets.py; it has Nested, Small, Large"),
        ("nets:function", "no class 'function' in nets.py; it has Nested, Small, Large"),
        ("nets:inner", "no class 'inner' in nets.py; it has Nested, Small, Large"),
        ("net:Small", "no module 'net' in '{folder}' (net.py); did you mean 'nets'?"),
        ("nets.py:Small", "no module 'nets.py' in '{folder}' (nets/py.py); did you mean 'nets'?"),
        ("pkg.larg:Net", "no module 'pkg.larg' in '{folder}' (pkg/larg.py); did you mean 'pkg.large'?"),
        ("pkg:Net", "no class 'Net' in pkg/__init__.py; it defines none"),
        ("zzzzzz:Net", "no module 'zzzzzz' in '{folder}' (zzzzzz.py); it has broken, nets, pkg"),
        ("broken:Net", "broken.py:2: not Python: "),
        ("build:Net", "no module 'build' in '{folder}' (build.py); it has broken, nets, pkg"),
        ("build.model:Net", "no module 'build.model' in '{folder}' (build/model.py)"),
    ],
)
def test_a_missing_class_is_reported(job: Path, named: str, expected: str):
    folder = job.parent
    for name in ("pkg", "build"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("")
    (folder / "pkg" / "large.py").write_text("class Net: pass")
    (folder / "build" / "model.py").write_text("class Net: pass")
    (folder / "broken.py").write_text("x = 1\nclass Net(:\n")
    [mistake] = mistakes(job, f"architecture.class={named}")
    assert mistake.startswith(f"0:0 architecture.class {expected.format(folder=folder)}")
    assert load_job(job, ["architecture.class=pkg.large:Net"], no_data_problems).code == folder


def test_a_mistake_has_the_position_of_the_class(job: Path):
    job.write_text(f"{JOB.replace('Small', 'Smal')}epoch: 3\n")
    first, second = mistakes(job)
    assert first == "3:39 architecture.class no class 'Smal' in nets.py; did you mean 'Small'?"
    assert second.startswith("4:1 epoch unknown key")


@pytest.mark.parametrize("content", [b"\0", b"(" * 5000, b"\xff\xfe"])
def test_a_module_that_is_not_python_is_reported(job: Path, content: bytes):
    (job.parent / "nets.py").write_bytes(content)
    [mistake] = mistakes(job)
    assert "nets.py" in mistake
    assert "not Python" in mistake


def test_a_class_that_a_star_import_may_define_is_accepted(job: Path):
    (job.parent / "nets.py").write_text("from elsewhere import *\n")
    assert load_job(job, (), no_data_problems).code == job.parent


def test_code_is_relative_to_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("base/lib", "jobs/lib", "here/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "base" / "base.yaml").write_text(f"{JOB}environment: {{code: lib}}\n")
    child = tmp_path / "jobs" / "child.yaml"
    child.write_text("extends: ../base/base.yaml\n")
    assert load_job(child).code == tmp_path / "base" / "lib"
    child.write_text("extends: ../base/base.yaml\nenvironment: {code: ./lib/../lib}\n")
    loaded = load_job(child)
    assert loaded.code == tmp_path / "jobs" / "lib"
    assert loaded.job.environment.code == "./lib/../lib"
    monkeypatch.chdir(tmp_path / "here")
    assert load_job(child, ["environment.code=lib"]).code == tmp_path / "here" / "lib"
    (tmp_path / "base" / "base.yaml").write_text(JOB)
    child.write_text("extends: ../base/base.yaml\n")
    assert load_job(child).code == tmp_path / "base"
    assert load_job(child, ["architecture.class=nets:Large"]).code == tmp_path / "jobs"
    assert parse_job(JOB, "<stdin>").code == tmp_path / "here"


def test_a_job_ships_code_only_for_a_custom_class_or_if_it_names_a_folder(job: Path):
    assert load_job(job, ["architecture=mlp"]).code is None
    assert load_job(job, ["architecture=mlp", f"environment.code={job.parent}"]).code == job.parent
    missing = job.parent / "missing"
    assert mistakes(job, "architecture=mlp", f"environment.code={missing}") == [
        f"0:0 environment.code '{missing}' does not exist"
    ]
    job.write_text(f"{JOB}environment: {{code: nets.py}}\n")
    assert mistakes(job) == [f"4:21 environment.code 'nets.py' is not a folder ({job.parent / 'nets.py'})"]


def test_an_earlier_run_has_its_own_copy_of_the_code(job: Path, tmp_path: Path):
    code = tmp_path / "run" / "code"
    code.mkdir(parents=True)
    (code / "nets.py").write_text("class Small: pass")
    resolved = code.parent / "resolved.yaml"
    resolved.write_text(dump_job(load_job(job).job))
    assert load_job(resolved, (), no_data_problems, code).code == code
    assert load_job(resolved, [f"environment.code={tmp_path}"], no_data_problems, code).code == tmp_path
    assert load_job(resolved, ["architecture=mlp"], no_data_problems, code).code is None
    [mistake] = mistakes(resolved, code=tmp_path / "gone")
    assert mistake.endswith(f" environment.code '{tmp_path / 'gone'}' does not exist")


def test_python_files_are_shipped_without_build_folders_and_environments(tmp_path: Path):
    shipped = ["build.py", "nets.py", "pkg/__init__.py", "pkg/deep/er/x.py"]
    skipped = [
        ".hidden/x.py", "__pycache__/x.py", "pkg/__pycache__/x.py", "node_modules/x.py", "build/x.py", "dist/x.py",
        "venv/pyvenv.cfg", "venv/lib/x.py", "data.csv", "pkg/notes.pyc",
    ]  # fmt: skip
    for name in (*shipped, *skipped):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    os.mkfifo(tmp_path / "pipe.py")
    assert code_files(tmp_path) == [tmp_path / name for name in shipped]


def test_too_much_code_is_refused_with_the_cure(tmp_path: Path):
    (tmp_path / "large.py").touch()
    os.truncate(tmp_path / "large.py", SIZE_LIMIT_MB * 10**6)
    assert len(code_files(tmp_path)) == 1
    (tmp_path / "small.py").write_text("x")
    with pytest.raises(JobError) as raised:
        code_files(tmp_path)
    [problem] = raised.value.problems
    cure = f"below '{tmp_path}'; set environment.code to a smaller folder"
    assert (problem.path, problem.message) == ("environment.code", f"more than 20 MB of code {cure}")
    (tmp_path / "large.py").unlink()
    for number in range(FILE_LIMIT):
        (tmp_path / f"{number}.py").touch()
    with pytest.raises(JobError, match=r"more than 2,000 files of code"):
        code_files(tmp_path)
