"""Whether a cluster can ever hold a run."""

import pytest

from stoker.clusters.ray.capacity import require_capacity
from stoker.errors import JobError
from stoker.job.resources import Resources

GIB = 2.0**30
HEAD = {"CPU": 0.0, "memory": 8 * GIB, "node:__internal_head__": 1.0}
SMALL = {"CPU": 4.0, "memory": 16 * GIB}
LARGE = {"CPU": 8.0, "GPU": 2.0, "memory": 64 * GIB, "accelerator_type:H200": 1.0}
OTHER = {"CPU": 8.0, "GPU": 2.0, "memory": 64 * GIB, "accelerator_type:A100": 1.0}


def resources(**asked) -> Resources:
    return Resources.model_validate(asked)


@pytest.mark.parametrize(
    ("asked", "nodes"),
    [
        ({"workers": 4}, [HEAD, SMALL]),
        ({"workers": 12, "gpus": 0}, [SMALL, LARGE]),
        ({"workers": 2, "gpus": 1}, [SMALL, LARGE]),
        ({"workers": 2}, [SMALL, LARGE]),
        ({"workers": 3}, [SMALL, LARGE]),  # more than there are GPUs: none gets one
        ({"workers": 5, "gpus": 0, "memory": "16GiB"}, [SMALL, LARGE]),
        ({"workers": 2, "gpus": 1, "accelerator": "H200"}, [SMALL, LARGE]),
        ({"workers": 2, "cpus": 64}, [SMALL]),  # threads; Ray's CPUs are bookkeeping
    ],
)
def test_what_fits_an_empty_cluster_is_let_through(asked, nodes):
    require_capacity(resources(**asked), nodes)


def test_trials_at_once_need_room_beside_each_other():
    require_capacity(resources(workers=2, cpus=2), [SMALL, SMALL], trials=2)
    with pytest.raises(
        JobError, match=r"sweep\.parallel.* holds at most 4 such workers, and the job asks for 3 trials with 2 each"
    ):
        require_capacity(resources(workers=2, cpus=2), [SMALL, SMALL], trials=3)
    with pytest.raises(JobError, match=r"resources\.workers.* at most 0 such workers, .* each takes 5 CPUs"):
        require_capacity(resources(cpus=5), [SMALL], trials=1)


def test_trials_that_share_a_gpu_fit_as_often_as_ray_places_them():
    require_capacity(resources(gpus=0.25), [LARGE], trials=8)
    require_capacity(resources(gpus=0.4), [LARGE], trials=4)
    with pytest.raises(JobError, match=r"holds at most 4 such workers, and the job asks for 5 trials .*1 CPU, 0.4 GPU"):
        require_capacity(resources(gpus=0.4), [LARGE], trials=5)


@pytest.mark.parametrize(
    ("asked", "nodes", "message"),
    [
        (
            {"workers": 5},
            [HEAD, SMALL],
            r"holds at most 4 such workers, and the job asks for 5; each takes 1 CPU, .*4 CPUs, 16.0",
        ),
        (
            {"workers": 3, "gpus": 1},
            [SMALL, LARGE],
            r"at most 2 such workers, .* 1 CPU, 1 GPU, .*8 CPUs, 2 GPUs, 64.0 GiB; 4 CPUs",
        ),
        ({"workers": 1, "memory": "65GiB"}, [SMALL, LARGE], "at most 0 such workers"),
        ({"workers": 1}, [HEAD], "at most 0 such workers"),
        ({"workers": 99}, [SMALL] * 5, "and 2 more"),
        ({"accelerator": "H200"}, [SMALL], "no node of the cluster reports a kind"),
        (
            {"accelerator": "H200"},
            [LARGE, OTHER],
            "the cluster's GPUs are A100 and H200, and a worker may get any of them",
        ),
    ],
)
def test_what_never_fits_is_refused_with_what_there_is(asked, nodes, message):
    with pytest.raises(JobError, match=message):
        require_capacity(resources(**asked), nodes)
