import pytest

from stoker.execution.resolved_job import halve_micro_batch, micro_batch, smaller_micro_batch, write_resolved
from stoker.jobfile.loading import load_job


@pytest.fixture
def job(make_job):
    training = {"epochs": 2, "batch_size": 50, "precision": "fp32"}
    return make_job("tabular-classification", "iris", name="small", training=training, resources={"workers": 3})


def test_the_micro_batch_is_a_workers_share_unless_the_job_says_less(job, make_job):
    assert micro_batch(job) == 17
    training = {"batch_size": 50, "micro_batch": 8}
    assert micro_batch(make_job("tabular-classification", "iris", training=training)) == 8
    assert micro_batch(make_job("tabular-classification", "iris", training={**training, "micro_batch": 64})) == 50


def test_the_micro_batch_is_halved_in_the_file_down_to_one_sample(job, tmp_path):
    path = tmp_path / "resolved.yaml"
    write_resolved(path, job, "f00d")
    sizes = []
    while (size := halve_micro_batch(path)) is not None:
        sizes.append(size)
    assert sizes == [8, 4, 2, 1]
    assert path.read_text().startswith("# data: sha256 f00d\n")
    kept = load_job(path).job
    assert kept.training.batch_size == 50
    assert smaller_micro_batch(kept) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["resolved.yaml"]
