"""The verbs on a cluster that only writes down what it is asked; each real cluster has tests of its own."""

import pytest

from stoker.clusters import verbs
from stoker.errors import NotFound
from stoker.tracking.run import RunHeader, RunStatus, State
from stoker.tracking.run_folder import RunFolder


class RecordingCluster:
    """Keeps the calls; `driver` says whether a driver accepts requests to cancel."""

    def __init__(self, settings) -> None:
        self.settings, self.poll_s, self.calls, self.driver = settings, 0.0, [], True

    def refresh(self, folder):
        return folder.record()

    def request_cancel(self, folder):
        self.calls.append("request_cancel")
        return self.driver

    def close(self, folder):
        self.calls.append("close")
        return "no answer"

    def __getattr__(self, name):
        return lambda *_: self.calls.append(name)


@pytest.fixture
def recording(settings):
    return RecordingCluster(settings)


@pytest.fixture
def run(settings):
    """A run of another cluster, whose record here is all that is known."""

    def make(state: State) -> RunFolder:
        folder = RunFolder(settings.home / "runs" / "a-1")
        folder.create(RunHeader("a-1", "a", "t", "f", "d", 1.0, 1, "", "", cluster="lab"), "task: x\n")
        folder.write_status(RunStatus(state))
        return folder

    return make


@pytest.fixture
def trial(run):
    trial = run(State.RUNNING).trial(3)
    trial.create(RunHeader("a-1.3", "a", "t", "f", "d", 1.0, 1, "", "", cluster="lab"), "task: x\n")
    trial.write_status(RunStatus(State.RUNNING))
    return trial


@pytest.mark.parametrize(
    ("verb", "state", "driver", "calls"),
    [
        (verbs.pause, State.RUNNING, True, ["request_pause"]),
        (verbs.resume, State.PAUSED, True, ["restart"]),
        (verbs.resume, State.FAILED, True, ["restart"]),
        (verbs.cancel, State.RUNNING, True, ["request_cancel"]),
        (verbs.cancel, State.QUEUED, False, ["request_cancel", "close"]),
        (verbs.cancel, State.PAUSED, True, ["close"]),
        (verbs.kill, State.RUNNING, True, ["stop_driver", "close"]),
        (verbs.kill, State.INTERRUPTED, True, ["close"]),
    ],
)
def test_a_verb_makes_the_cluster_calls_that_the_state_requires(verb, state, driver, calls, recording, run):
    recording.driver = driver
    assert verb(recording, run(state)) == ("no answer" if "close" in calls else "" if verb is verbs.cancel else None)
    assert recording.calls == calls


@pytest.mark.parametrize(
    ("verb", "state", "message"),
    [
        (verbs.pause, State.PAUSED, "a-1 is PAUSED: nothing to pause"),
        (verbs.resume, State.RUNNING, "a-1 is RUNNING: its driver is alive"),
        (verbs.resume, State.SUCCEEDED, "a-1 has succeeded; `stoker extend a-1 --epochs N` trains it further"),
        (verbs.cancel, State.FAILED, "a-1 is FAILED: nothing to cancel"),
        (verbs.kill, State.CANCELLED, "a-1 is CANCELLED: nothing to kill"),
    ],
)
def test_a_verb_that_does_not_fit_the_state_makes_no_cluster_calls(verb, state, message, recording, run):
    with pytest.raises(NotFound, match=message):
        verb(recording, run(state))
    assert recording.calls == []


def test_a_sweep_is_extended_after_it_has_succeeded(recording, run):
    verbs.extend(recording, run(State.SUCCEEDED), 20)
    assert recording.calls == ["restart"]


@pytest.mark.parametrize("verb", [verbs.cancel, verbs.kill])
def test_a_trial_is_cancelled_alone(verb, recording, trial):
    assert verb(recording, trial) == ""
    assert recording.calls == ["cancel_trial"]


@pytest.mark.parametrize("verb", [verbs.pause, verbs.resume])
def test_a_trial_is_paused_and_resumed_with_its_sweep_only(verb, recording, trial):
    with pytest.raises(NotFound, match=r"a-1\.3 is a trial; name its whole sweep"):
        verb(recording, trial)
    assert recording.calls == []
