"""A job as what a standing Ray takes."""

import io
import json
import zipfile
from dataclasses import replace

import pytest

from stoker.clusters.ray.job_request import inputs_package, job_request, package_name, require_supported
from stoker.clusters.restart import Restart
from stoker.errors import JobError
from stoker.jobfile.loading import parse_job
from stoker.tracking.run import RunHeader

JOB = "name: digits\ntask: image-classification\ndataset: digits\n"
HEADER = RunHeader(
    "digits-0a1b2c3d", "digits", "image-classification", "cnn", "digits", 1.0, 1, "http://mlflow:5000", "digits"
)
PLACED = replace(HEADER, storage="s3://runs/lab", cluster="lab")


def parse(more=""):
    return parse_job(JOB + more, "digits.yaml").job


def test_the_package_holds_what_the_run_is_in_one_folder():
    content = inputs_package(parse(), PLACED, {"own/net.py": b"x = 1\n"})
    with zipfile.ZipFile(io.BytesIO(content)) as package:
        assert package.namelist() == ["inputs/job.yaml", "inputs/run.json", "inputs/code/own/net.py"]
        assert json.loads(package.read("inputs/run.json"))["id"] == HEADER.id
        assert package.read("inputs/code/own/net.py") == b"x = 1\n"


def test_the_same_files_are_the_same_package():
    packages = [inputs_package(parse(), PLACED, {"a.py": code}) for code in (b"1", b"1", b"2")]
    names = [package_name(package) for package in packages]
    assert names[0] == names[1] != names[2]


def test_the_job_has_the_runs_id_and_its_places():
    request = job_request(parse(), PLACED, "p.zip")
    assert request["submission_id"] == HEADER.id
    assert request["runtime_env"] == {
        "working_dir": "gcs://p.zip",
        "env_vars": {
            "STOKER_HOME": "~/.stoker-driver",
            "STOKER_STORAGE": "s3://runs/lab",
            "STOKER_SUBMISSION": HEADER.id,
            "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        },
    }


def test_a_resumed_run_is_another_job_with_a_word_of_its_own():
    request = job_request(parse(), PLACED, "p.zip", Restart("beef"))
    assert request["submission_id"] == f"{HEADER.id}-beef"
    assert request["runtime_env"]["env_vars"]["STOKER_REOPEN"] == "beef"


def test_the_jobs_packages_and_variables_are_passed_on_but_cannot_change_the_storage():
    more = "environment: {env: {A: b, STOKER_STORAGE: /elsewhere}, packages: [einops==0.8.1]}\n"
    environment = job_request(parse(more), replace(PLACED, tracking_uri=""), "p.zip")["runtime_env"]
    assert environment["pip"] == ["einops==0.8.1"]
    assert environment["env_vars"]["A"] == "b"
    assert environment["env_vars"]["STOKER_STORAGE"] == "s3://runs/lab"
    assert "MLFLOW_TRACKING_URI" not in environment["env_vars"]


def test_what_no_standing_ray_has_is_refused_at_once():
    require_supported(parse())
    more = "resources: {queue: a, priority: b}\nenvironment: {image: c}\n"
    with pytest.raises(JobError) as refused:
        require_supported(parse(more))
    keys = [problem.path for problem in refused.value.problems]
    assert keys == ["resources.queue", "resources.priority", "environment.image"]


def test_a_package_larger_than_ray_takes_is_refused(monkeypatch):
    monkeypatch.setattr("stoker.clusters.ray.job_request.PACKAGE_BYTES", 100)
    with pytest.raises(JobError, match=r"environment.code: holds .* MB of code"):
        inputs_package(parse(), PLACED, {})
