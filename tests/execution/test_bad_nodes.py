"""Machines that later attempts leave out."""

import time
from dataclasses import replace

import pytest

from stoker.errors import Cause
from stoker.execution.attempts import GroupAttempts, Watch
from stoker.execution.bad_nodes import BadNodes
from stoker.execution.machine import Machine
from stoker.execution.worker_result import WorkerResult
from stoker.tracking.run_folder import RunFolder

MACHINES = [Machine(f"gpu-{number}", f"ray-{number}", f"run-worker-{number}") for number in range(3)]
ALIVE = {machine.ray_node for machine in MACHINES}
DIED = WorkerResult("failed", Cause.INFRASTRUCTURE, "worker 1 died", died=True, machine=MACHINES[1])
BROKEN = replace(
    DIED, died=False, device="broken", message="AcceleratorError: CUDA error: uncorrectable ECC error encountered\nmore"
)
MISSING = replace(DIED, died=False, device="missing", message="RuntimeError: No CUDA GPUs are available")


def left_out(*results, machines=MACHINES, alive=ALIVE):
    bad = BadNodes()
    for result in results:
        bad.note(result, machines, alive)
    return bad.reasons


def test_a_machine_with_a_broken_device_is_left_out_at_once():
    reason = "AcceleratorError: CUDA error: uncorrectable ECC error encountered"
    assert left_out(BROKEN) == {"gpu-1": reason}
    assert left_out(BROKEN, machines=MACHINES[1:2]) == {"gpu-1": reason}


def test_a_machine_where_a_second_worker_dies_is_left_out():
    assert left_out(DIED) == {}
    assert left_out(DIED, replace(DIED, machine=MACHINES[2])) == {}
    again = "2 workers have failed there, the last one: worker 1 died"
    assert left_out(DIED, replace(DIED, machine=MACHINES[2]), DIED) == {"gpu-1": again}
    silent = replace(DIED, cause=Cause.HANG, message="worker 1 does not answer; the log has all stack traces")
    assert list(left_out(DIED, silent)) == ["gpu-1"]
    assert list(left_out(MISSING, DIED)) == ["gpu-1"]


def test_the_last_good_machine_is_not_left_out_for_deaths():
    elsewhere = [replace(DIED, machine=machine) for machine in MACHINES]
    assert len(left_out(*elsewhere, *elsewhere)) == 2


def test_deaths_on_different_days_do_not_count_together(monkeypatch):
    times = iter([0.0, 90_000.0, 95_000.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    assert left_out(DIED, DIED) == {}
    times = iter([0.0, 90_000.0, 95_000.0])
    assert list(left_out(DIED, DIED, DIED)) == ["gpu-1"]


@pytest.mark.parametrize(
    "result",
    [
        replace(DIED, cause=Cause.USER_CODE),
        replace(DIED, died=False, message="s3://runs/x: cannot be reached"),
        replace(DIED, cause=Cause.OOM_HOST),
        replace(DIED, lost_peers=True),
        replace(DIED, machine=None),
        replace(DIED, outcome="stopped"),
    ],
)
def test_a_failure_that_may_be_the_codes_or_anothers_does_not_count(result):
    assert left_out(*[result] * 3) == {}


def test_where_all_workers_run_or_what_has_gone_is_not_left_out():
    assert left_out(DIED, DIED, machines=MACHINES[1:2]) == {}
    assert left_out(DIED, DIED, alive=ALIVE - {"ray-1"}) == {}  # Kubernetes knows what has become of it


class Group:
    """Workers whose attempts have these results."""

    wanted, shown_count, most, count, shared_disk = "3 workers", "3", 3, 3, False

    def __init__(self, *results):
        self.results, self.replaced, self.moved, self.there = list(results), [], [], [MACHINES]

    def start_attempt(self, folder, attempt):
        self.result = self.results.pop(0)

    def poll(self, timeout_s):
        return dict.fromkeys(range(3), self.result)

    def beats(self):
        return {}

    def collect_journal(self):
        return True

    def machines(self):
        return dict(enumerate(self.there[min(len(self.replaced), len(self.there) - 1)]))

    def alive_nodes(self):
        return frozenset(ALIVE)

    def move_from(self, machines):
        self.moved.append(machines)

    def replace_dead(self, leaving, stopped):
        self.replaced.append(leaving)


def follow(group, replace_pods, attempts=2):
    told = []
    made = GroupAttempts(group, None, replace_pods)
    watch = Watch(lambda: None, lambda _: None, lambda _: None, lambda *_: None, left_out=told.append)
    for number in range(attempts):
        made.run(RunFolder("nowhere"), number, watch)
        made.renew(lambda: False)
    return told


def test_kubernetes_replaces_the_pods_of_a_bad_node_and_the_next_attempt_waits_for_their_end():
    asked, group = [], Group(BROKEN, DIED)
    group.there = [MACHINES, [MACHINES[0], Machine("gpu-4", "ray-4", "run-worker-4"), MACHINES[2]]]
    told = follow(group, lambda nodes, pods: bool(asked.append((nodes, pods))) or True)
    assert asked[0] == ({"gpu-1"}, {"run-worker-1"})
    assert group.replaced[0] == {1: "ray-1"}
    assert told[0] == ["gpu-1: AcceleratorError: CUDA error: uncorrectable ECC error encountered"]
    assert len(asked) == len(told) == 1  # no worker is there any more
    assert group.replaced[1] == {}
    assert not group.moved


def test_a_cluster_that_does_not_agree_goes_on_as_before_and_is_asked_again():
    group, answers = Group(BROKEN, BROKEN), [False, True]
    assert len(follow(group, lambda nodes, pods: answers.pop(0))) == 1
    assert group.replaced == [{}, {1: "ray-1"}]


def test_without_pods_of_their_own_the_workers_are_placed_elsewhere():
    group = Group(BROKEN)
    assert len(follow(group, None, 1)) == 1
    assert group.moved == [{1: MACHINES[1]}]
