"""Supervision of an attempt with scripted workers."""

import itertools
import time
from dataclasses import replace

import pytest

from stoker.errors import Cause
from stoker.execution.heartbeat import Beat, Stage
from stoker.execution.machine import Machine
from stoker.execution.stop_requests import StopReason
from stoker.execution.supervisor import Supervisor, Timeouts, WorkerHealth, attempt_result
from stoker.execution.worker_result import WorkerResult
from stoker.tracking.system_metrics import SystemSample

SHORT = Timeouts(
    poll_s=0.01,
    heartbeat_s=0.01,
    stop_grace_s=0.1,
    pause_grace_s=0.3,
    checkpoint_s=0.6,
    peer_failure_s=0.1,
    spare_after_s=0.05,
    unresponsive_s=0.3,
    stall_s=0.3,
    busy_stall_s=1.0,
)
SUCCEEDED = WorkerResult("succeeded", step=10)
STOPPED = WorkerResult("stopped", step=5, checkpoint=(1, 5))
LOST = WorkerResult("failed", Cause.INFRASTRUCTURE, "it lost its peers", lost_peers=True, step=7, began=True)
DEAD = WorkerResult("failed", Cause.INFRASTRUCTURE, "the process died", died=True, step=6)
CODE = WorkerResult("failed", Cause.USER_CODE, "model.py:3: ValueError: no", step=7)


class Workers:
    """Workers whose results arrive one by one; missing results never arrive."""

    def __init__(self, count, results=(), beats=None):
        self.count = count
        self.results = list(results)
        self.said = beats or {}
        self.asked, self.killed, self.spares, self.more = [], [], 0, 0

    def poll(self, timeout_s):
        return dict([self.results.pop(0)]) if self.results else {}

    def beats(self):
        return self.said

    def request(self, request):
        self.asked.append(request)
        self.results += [(rank, STOPPED) for rank in range(self.count)]

    def stack_traces(self):
        return "worker 0: waits for Godot"

    def kill(self, ranks):
        self.killed += ranks

    def joining(self):
        return self.more

    def start_spare(self):
        self.spares += 1


def beat(stage=Stage.TRAINING, ticks=1, busy_s=0.0, step=5, checkpoint=(1, 4)):
    return Beat(stage, ticks, busy_s, 1, step, checkpoint)


def no_metrics(rank, sample):
    raise AssertionError(f"worker {rank} has not sampled {sample}")


def follow(workers, stop=None, received=None):
    return Supervisor(workers, lambda: stop, received or (lambda _: None), no_metrics, SHORT).run()


def test_the_first_workers_success_decides():
    result = follow(Workers(2, [(1, WorkerResult("succeeded")), (0, SUCCEEDED)]))
    assert result is SUCCEEDED


def test_the_cause_is_that_of_the_root_failure():
    assert follow(Workers(3, [(0, LOST), (2, LOST), (1, CODE)])).message == CODE.message
    assert follow(Workers(2, [(0, LOST), (1, DEAD)])).message == DEAD.message
    odd = WorkerResult("failed", Cause.INTERNAL, "RuntimeError: something of torch")
    assert follow(Workers(2, [(0, odd), (1, DEAD)])).cause is Cause.INFRASTRUCTURE


def test_the_progress_of_a_dead_worker_is_taken_from_the_others():
    result = attempt_result({0: LOST, 1: DEAD})
    assert (result.step, result.began, result.died) == (7, True, True)


def test_workers_that_do_not_notice_a_death_are_killed():
    workers = Workers(2, [(1, DEAD)])
    assert follow(workers).message == DEAD.message
    assert workers.killed == [0]


def follow_and_stop(workers):
    """Request a pause after the first heartbeat."""
    received = []
    return Supervisor(workers, lambda: StopReason.PAUSE if received else None, received.append, no_metrics, SHORT).run()


class EndlessWorkers(Workers):
    """The first worker never ends."""

    ticks = itertools.count()

    def beats(self):
        return {0: beat(ticks=next(self.ticks))}


class UnresponsiveWorkers(EndlessWorkers):
    """It also ignores requests."""

    def request(self, request):
        self.asked.append(request)


def test_a_worker_that_the_others_wait_for_is_reported_once_and_again_when_it_is_as_fast_as_they_are():
    paces, reported = iter([(1.0, 1.0), (1.0, 3.0), (1.0, 4.0), (1.0, 1.0)]), []

    class Slow(Workers):
        def beats(self):
            pace = next(paces, None)
            if pace is None:
                self.results += [(rank, STOPPED) for rank in range(2)]
                pace = (1.0, 1.0)
            return {rank: replace(beat(), step_s=step_s, machine=Machine("gpu-7")) for rank, step_s in enumerate(pace)}

    Supervisor(Slow(2), lambda: None, lambda _: None, no_metrics, SHORT, reported.append).run()
    assert reported == [["worker 1 on gpu-7: 3.00 s of work a step, 3.0 times the median of 1.00 s"], []]


def test_the_system_metrics_of_every_worker_are_reported_and_the_last_ones_come_with_its_result():
    samples = [SystemSample(number, {"a": 1.0}) for number in range(1, 4)]
    workers = Workers(2, beats={0: beat(), 1: replace(beat(), system=samples[0])})
    ends = [replace(STOPPED, system=(samples[1],)), replace(STOPPED, system=(samples[0], samples[2]))]
    received = []

    def take(rank, sample):
        if not received:
            workers.results += enumerate(ends)
        received.append((rank, sample))

    Supervisor(workers, lambda: None, lambda _: None, take, SHORT).run()
    assert [sample for rank, sample in received if rank == 1] == [samples[0], samples[2]]  # each once
    assert [sample for rank, sample in received if rank == 0] == [samples[1]]


def test_a_request_is_forwarded_and_takes_effect():
    workers = Workers(2, beats={0: beat(), 1: beat()})
    result = follow_and_stop(workers)
    assert (result.outcome, result.step, result.checkpoint) == ("stopped", 5, (1, 5))
    assert set(workers.asked) == {"stop"}
    assert workers.killed == []


def test_workers_that_ignore_a_request_are_killed():
    workers = UnresponsiveWorkers(1)
    assert follow_and_stop(workers) == WorkerResult("stopped", step=5, began=True, checkpoint=(1, 4))
    assert workers.asked
    assert workers.killed == [0]


@pytest.mark.parametrize(
    ("stop", "stage", "seconds"),
    [
        (StopReason.CANCEL, Stage.TRAINING, 0.1),
        (StopReason.TERMINATE, Stage.TRAINING, 0.1),
        (StopReason.PAUSE, Stage.TRAINING, 0.3),
        (StopReason.TIMEOUT, Stage.TRAINING, 0.3),
        (StopReason.PAUSE, Stage.SAVING, 0.6),
        (StopReason.CANCEL, Stage.SAVING, 0.6),
    ],
)
def test_the_grace_period_of_a_request_depends_on_the_stage(stop, stage, seconds):
    class Busy(UnresponsiveWorkers):
        def beats(self):
            return {0: beat(stage, ticks=next(self.ticks))}

    received = []
    began = time.monotonic()
    assert (
        Supervisor(Busy(1), lambda: stop if received else None, received.append, no_metrics, SHORT).run().outcome
        == "stopped"
    )
    assert time.monotonic() - began >= seconds


def test_a_slow_checkpoint_is_no_hang():
    pace = WorkerHealth(Timeouts())
    pace.take(beat(Stage.SAVING))
    pace.wait(500)
    assert not pace.hangs
    pace.wait(200)
    assert pace.hangs


def test_workers_that_do_not_train_yet_are_not_waited_for():
    class Loading(UnresponsiveWorkers):
        def beats(self):
            return {0: beat(Stage.LOADING)}

    workers = Loading(2)
    began = time.monotonic()
    assert (
        Supervisor(workers, lambda: StopReason.CANCEL, lambda _: None, no_metrics, replace(SHORT, stop_grace_s=60))
        .run()
        .outcome
        == "stopped"
    )
    assert workers.killed == [0, 1]
    assert time.monotonic() - began < 10


def test_workers_without_progress_hang_and_the_log_has_their_stacks(capsys):
    workers = Workers(2, beats={0: beat(), 1: beat()})
    result = follow(workers)
    assert (result.cause, result.step, result.checkpoint, result.began) == (Cause.HANG, 5, (1, 4), True)
    assert "no worker makes progress" in result.message
    assert workers.killed == [0, 1]
    assert "waits for Godot" in capsys.readouterr().err


def test_one_worker_that_does_not_answer_hangs():
    assert "worker 1 does not answer" in follow(EndlessWorkers(2)).message


def test_checkpoints_are_reported_and_a_spare_is_started_during_training():
    received = []
    workers = Workers(1, beats={0: beat()})
    follow(workers, received=received.append)
    assert received[0].checkpoint == (1, 4)
    assert workers.spares > 0


def test_a_long_computation_or_slow_loading_is_no_hang():
    pace = WorkerHealth(Timeouts())
    pace.take(beat(busy_s=100.0))
    pace.wait(400)
    pace.take(beat(busy_s=480.0))
    assert not pace.hangs
    pace.take(beat(busy_s=110.0))
    assert pace.hangs
    pace.take(beat(busy_s=110.0, ticks=2))
    assert not pace.hangs
    loading = WorkerHealth(Timeouts())
    loading.take(beat(Stage.LOADING))
    loading.wait(3000)
    assert not loading.hangs
    loading.wait(700)
    assert loading.hangs


def test_a_loading_worker_may_be_silent_for_longer():
    pace = WorkerHealth(Timeouts())
    pace.wait(200)
    assert not pace.silent
    pace.take(beat())
    pace.wait(61)
    assert pace.silent


def test_a_script_has_succeeded_only_if_it_has_on_all_workers():
    done = WorkerResult("succeeded", needs_all=True)
    assert attempt_result({0: done, 1: done}).outcome == "succeeded"
    broken = WorkerResult("failed", Cause.USER_CODE, "train.py exited with 3", needs_all=True)
    assert attempt_result({0: done, 1: broken}).message == "train.py exited with 3"


def test_workers_save_a_checkpoint_when_a_node_is_taken_away():
    beats = {0: beat(), 1: replace(beat(), leaving=True, machine=Machine("gpu-7", "node-7"))}
    workers = Workers(2, beats=beats)
    supervisor = Supervisor(workers, lambda: None, lambda _: None, no_metrics, SHORT)
    result = supervisor.run()
    assert set(workers.asked) == {"stop"}
    assert workers.killed == []
    assert supervisor.leaving == {1: "node-7"}
    assert (result.outcome, result.checkpoint) == ("stopped", (1, 5))
    assert result.message == "the node of worker 1 is being taken away; its step is saved"


def test_workers_save_a_checkpoint_when_more_can_join_but_not_at_once():
    workers = Workers(2, beats={0: beat(), 1: beat()})
    workers.more = 3
    later = replace(SHORT, grow_after_s=0.2)
    began = time.monotonic()
    result = Supervisor(workers, lambda: None, lambda _: None, no_metrics, later).run()
    assert time.monotonic() >= began + 0.2
    assert set(workers.asked) == {"stop"}
    assert (result.outcome, result.grows, result.checkpoint) == ("stopped", True, (1, 5))
    assert result.message == "3 more workers can join; the step is saved"


def test_a_pause_while_a_run_is_about_to_grow_has_its_whole_time():
    ticks = itertools.count()

    class Slow(Workers):
        def beats(self):
            return {0: beat(ticks=next(ticks))}

        def request(self, request):
            self.asked.append(request)
            if len(self.asked) > 1 and time.monotonic() > began + 0.5:
                super().request(request)

    workers = Slow(1)
    workers.more = 1
    began = time.monotonic()

    def reason():
        return StopReason.PAUSE if time.monotonic() > began + 0.4 else None

    result = Supervisor(workers, reason, lambda _: None, no_metrics, replace(SHORT, grow_after_s=0.0)).run()
    assert workers.killed == []
    assert (result.outcome, result.grows, result.checkpoint) == ("stopped", False, (1, 5))


def test_a_request_of_the_user_goes_before_a_node_that_is_taken_away():
    workers = Workers(1, beats={0: replace(beat(), leaving=True, machine=Machine("gpu-7", "node-7"))})
    result = Supervisor(workers, lambda: StopReason.PAUSE, lambda _: None, no_metrics, SHORT).run()
    assert (result.outcome, result.message) == ("stopped", "")
