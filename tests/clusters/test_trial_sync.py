"""The trials of a sweep on a cluster, as this home comes to know them; the way there over HTTP is in test_pages."""

import os
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest

from stoker.clusters import trial_sync
from stoker.clusters.trial_sync import added_trials, sync_trials, trial_cancel_request
from stoker.errors import Unreachable
from stoker.jobfile.loading import dump_job, load_job, parse_job
from stoker.tracking.ledger import Ledger
from stoker.tracking.run import RunHeader, RunStatus, State
from stoker.tracking.run_folder import RunFolder
from stoker.tracking.run_lookup import find_trial
from stoker.tracking.trials import SweepFacts, write_facts

LR = "training.optimizer.lr"
JOB = "name: digits\ntask: image-classification\ndataset: digits\n"
SWEEP = "sweep: {trials: 4, space: {training.optimizer.lr: {min: 0.001, max: 0.1, log: true}}}\n"


class Server:
    """What MLflow has on the sweep's page."""

    def __init__(self, place):
        self.place, self.asked, self.down = RunFolder(place), 0, False
        place.mkdir()

    def tell(self, *events):
        ledger = Ledger(self.place.ledger)
        for number, event, *more in events:
            getattr(ledger, event)(number, *more)
        ledger.close()

    def fetch(self, experiment, run, name, target):
        assert (experiment, run) == ("digits", "digits-0a1b2c3d")
        if found := (self.place.path / name).exists():
            shutil.copy(self.place.path / name, target)
        return found

    def status(self, experiment, run, known):
        assert experiment == "digits"
        return replace(known, mlflow_run=f"page-of-{run}", model_uri="models:/m-1")

    @contextmanager
    def pages(self):
        self.asked += 1
        if self.down:
            raise Unreachable("MLflow does not answer")
        yield self


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path / "server")


@pytest.fixture
def make(tmp_path):
    def make(text=JOB + SWEEP, experiment="digits"):
        folder = RunFolder(tmp_path / "digits-0a1b2c3d")
        header = RunHeader(folder.path.name, "digits", "image-classification", "cnn", "digits", 1.0, 1, "", experiment)
        folder.create(header, dump_job(parse_job(text, "digits.yaml").job))
        folder.write_status(RunStatus(State.RUNNING, attempt=1))
        return folder

    return make


def later(folder):
    """Let the last look be long ago."""
    seen, ago = folder.path / "trials_seen", trial_sync.SYNC_EVERY_S + 1
    os.utime(seen, (seen.stat().st_atime, seen.stat().st_mtime - ago))


def test_trials_become_runs_of_this_home_and_follow_their_mlflow_runs(make, server):
    folder = make()
    sync_trials(folder, server.pages)
    assert not folder.ledger.exists()
    server.tell((0, "begin", {}, {LR: 0.01}), (1, "begin", {}, {LR: 0.02}), (0, "report", 1, 23, {"accuracy/val": 0.5}))
    write_facts(server.place, SweepFacts("accuracy/val", "max", trials=4))
    later(folder)
    sync_trials(folder, server.pages)
    assert find_trial(folder, "best").path.name == "digits-0a1b2c3d.0"
    assert load_job(folder.trial(1).job).job.training.optimizer.lr == 0.02
    assert folder.trial(1).header().id == "digits-0a1b2c3d.1"
    assert {folder.trial(number).status().state for number in (0, 1)} == {State.RUNNING}
    server.tell((0, "end", State.FAILED, {}, "USER_CODE", "it is wrong"))
    later(folder)
    sync_trials(folder, server.pages)
    assert (folder.trial(0).status().state, folder.trial(0).status().message) == (State.FAILED, "it is wrong")
    assert folder.trial(1).status().state is State.RUNNING


def test_a_server_is_asked_now_and_then_while_a_sweep_goes_on_and_once_when_it_has_ended(make, server):
    folder = make()
    for _ in range(3):
        sync_trials(folder, server.pages)
    assert server.asked == 1
    later(folder)
    server.down = True
    sync_trials(folder, server.pages)
    folder.write_status(RunStatus(State.SUCCEEDED, ended=5.0))
    sync_trials(folder, server.pages)
    assert server.asked == 3
    server.down = False
    server.tell((0, "begin", {}, {LR: 0.01}), (1, "begin", {}, {LR: 0.02}))
    write_facts(server.place, SweepFacts("accuracy/val", "max", best=0))
    for _ in range(3):
        sync_trials(folder, server.pages)
        later(folder)
    assert server.asked == 4
    assert [folder.trial(number).status().model_uri for number in (0, 1)] == ["models:/m-1", ""]


@pytest.mark.parametrize(("text", "experiment"), [(JOB, "digits"), (JOB + SWEEP, "")])
def test_nobody_is_asked_about_a_run_of_its_own_or_one_without_a_page(make, server, text, experiment):
    sync_trials(make(text, experiment), server.pages)
    assert server.asked == 0


def test_a_request_names_all_trials_that_were_to_end(make, server):
    folder = make()
    server.tell(*[(number, "begin", {}, {LR: 0.01}) for number in range(4)])
    write_facts(server.place, SweepFacts("accuracy/val", "max"))
    sync_trials(folder, server.pages)
    assert trial_cancel_request(folder.trial(2)) == "cancel 2"
    assert trial_cancel_request(folder.trial(0)) == "cancel 0 2"


@pytest.mark.parametrize(("there", "added"), [(4, 0), (24, 20), (None, 0)])
def test_trials_that_somebody_added_are_counted(make, there, added):
    folder, job = make(), parse_job(JOB + SWEEP, "digits.yaml").job
    assert added_trials(folder, job) == 0
    write_facts(folder, SweepFacts("accuracy/val", "max", trials=there))
    assert added_trials(folder, job) == added
