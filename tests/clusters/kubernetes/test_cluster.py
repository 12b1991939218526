"""The client's side of a run on Kubernetes, against an API server of a few lines; the real one is in tests/cluster."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace

import pytest

import stoker
from stoker.clusters import verbs
from stoker.clusters.kubernetes.api_errors import AlreadyExists
from stoker.clusters.kubernetes.cluster import KubernetesCluster, require_version
from stoker.clusters.kubernetes.profile import Profile
from stoker.clusters.new_run import Origin
from stoker.clusters.polling import poll
from stoker.errors import ClusterError, JobError, NotFound, Unreachable
from stoker.execution.sweeps.trial_folders import create_trial_folder
from stoker.jobfile.loading import parse_job
from stoker.settings import ClusterSettings, Settings
from stoker.tracking.ledger import Ledger
from stoker.tracking.run import WAITING, Progress, RunStatus, State
from stoker.tracking.trials import SweepFacts, write_facts

JOB = "name: digits\ntask: image-classification\ndataset: digits\ntracking: none\n"


def pod(kind, name="digits-worker", started="2026-01-01T00:00:00Z", **status):
    """A pod that runs, unless its status says something else."""
    running = {
        "containerStatuses": [{"name": f"ray-{kind}", "state": {"running": {"startedAt": started}}}],
        "phase": "Running",
    }
    metadata = {"name": name, "labels": {"ray.io/node-type": kind}, "creationTimestamp": started}
    return {"metadata": metadata, "status": {**running, **status}}


class FakeApi:
    """What one namespace holds."""

    def __init__(self):
        self.jobs, self.maps, self.printed, self.said, self.standing = {}, {}, {}, [], [pod("worker")]
        self.down = self.full = False

    def profile(self):
        return Profile(image="stoker:1", tracking_uri="http://mlflow.team:5000", storage_claim="runs")

    def dry_run(self, rayjob):
        if rayjob["metadata"]["name"] in self.jobs:
            raise AlreadyExists("taken")

    def create(self, rayjob, inputs):
        self.dry_run(rayjob)
        if self.full:
            raise ClusterError("cluster 'test' refuses: exceeded quota")
        self.jobs[rayjob["metadata"]["name"]] = rayjob
        self.maps |= {each["metadata"]["name"]: each["data"] for each in inputs}

    def rayjob(self, run):
        if self.down:
            raise Unreachable("cluster 'test' does not answer")
        return self.jobs.get(run)

    def rayjobs(self):
        return list(self.jobs.values())

    def config_map(self, name):
        return self.maps.get(name)

    def annotate(self, run, annotation, text):
        self.jobs[run]["metadata"]["annotations"][annotation] = text

    def delete(self, run):
        self.jobs.pop(run, None)
        self.maps.pop(run, None)

    def wait_until_deleted(self, run):
        assert run not in self.jobs

    def pods(self, selector):
        if selector.startswith("stoker.dev/run="):
            return self.standing
        times = [f"2026-01-01T{hour:02d}:00:00Z" for hour in range(24)]
        names = [name for name in self.printed if selector == f"job-name={name.partition('/')[0]}"]
        return [
            {"metadata": {"name": name, "creationTimestamp": time}} for name, time in zip(names, times, strict=False)
        ]

    def pod_log(self, pod, since_s):
        return self.printed[pod]

    def events(self, run):
        return self.said

    def workload(self, run):
        return None

    def queues(self):
        return ["team-a", "team-b"]

    def priorities(self):
        return ["high", "low"]

    def says(self, run, deployment, status=None, progress=None):
        """Let KubeRay and the driver of a run speak."""
        self.jobs[run]["status"] = {"jobDeploymentStatus": deployment}
        if status:
            self.annotate(run, "stoker.dev/status", json.dumps(asdict(status)))
        if progress:
            self.annotate(run, "stoker.dev/progress", json.dumps(asdict(progress)))

    @contextmanager
    def port_forward(self, *_):
        raise Unreachable("no pod of mlflow is up")
        yield 0


@pytest.fixture
def api():
    return FakeApi()


@pytest.fixture
def cluster(api, tmp_path):
    return KubernetesCluster(Settings(tmp_path, "", cluster="test"), ClusterSettings("test", namespace="team"), api)


@pytest.fixture
def run(cluster):
    return cluster.submit(parse_job(JOB, "digits.yaml").job)


def test_the_folder_of_a_submitted_run_follows_the_drivers_reports(cluster, api, run):
    assert cluster.refresh(run).state is State.PROVISIONING
    api.says(run.path.name, "Running", RunStatus(State.RUNNING, attempt=1), Progress(step=7, steps=9))
    assert cluster.refresh(run).state is State.RUNNING
    assert run.progress().step == 7
    api.says(run.path.name, "Complete", RunStatus(State.SUCCEEDED, attempt=1, metrics={"loss/val": 0.5}))
    assert cluster.refresh(run).status.metrics == {"loss/val": 0.5}
    api.jobs.clear()
    assert cluster.refresh(run).state is State.SUCCEEDED


def test_a_started_run_that_waits_for_capacity_shows_the_reason(cluster, api, run):
    about, made = {"kind": "Job", "name": "digits-worker"}, {"creationTimestamp": "2026-01-01T00:00:09Z"}
    quota = {"type": "Warning", "reason": "FailedCreate", "message": "exceeded quota: gpus"}
    api.said = [{**quota, "involvedObject": about, "metadata": made}]
    api.says(run.path.name, "Running", RunStatus(State.RUNNING, attempt=1, phase=f"{WAITING} for a trial"))
    record = cluster.refresh(run)
    assert record.state is State.RUNNING
    assert record.status.message.startswith("digits-worker: exceeded quota: gpus; ask the cluster's administrator")
    api.says(run.path.name, "Running", RunStatus(State.RUNNING, attempt=1, phase=""))
    assert cluster.refresh(run).status.message == ""


def test_a_run_that_has_lost_a_pod_retries_from_its_checkpoint_at_once(cluster, api, run):
    report = RunStatus(State.RUNNING, attempt=1, attempt_started=1.0, checkpoint_step=800, checkpoint_epoch=8)
    at_work = Progress("training", epoch=9, epochs=20, step=850, steps=2000)
    api.says(run.path.name, "Running", report, at_work)
    assert (cluster.refresh(run).state, run.progress().step) == (State.RUNNING, 850)
    api.standing = []
    record = cluster.refresh(run)
    assert (record.state, record.status.cause) == (State.RETRYING, "INFRASTRUCTURE")
    assert record.status.message == (
        "lost its worker pod; waiting for a new worker pod; then it goes on from the checkpoint of step 800"
    )
    shown = run.progress()
    assert (shown.epoch, shown.epochs, shown.step, shown.steps) == (8, 20, 800, 2000)
    api.standing = [pod("worker")]
    api.says(run.path.name, "Running", replace(report, attempt=2), Progress("loading data"))
    assert (cluster.refresh(run).state, run.progress().step, run.progress().steps) == (State.RUNNING, 800, 2000)


def test_a_run_whose_driver_is_lost_ends_without_it(cluster, api, run):
    name = run.path.name
    api.says(name, "Running", RunStatus(State.RUNNING, attempt=1))
    status = {**asdict(RunStatus(State.RUNNING, attempt=1)), "pod": "digits-head", "since": 2e9}
    api.annotate(name, "stoker.dev/status", json.dumps(status))
    api.standing = [pod("head", "digits-head"), pod("worker")]
    assert cluster.refresh(run).state is State.RUNNING
    api.standing = [pod("worker")]
    assert cluster.refresh(run).status.message.startswith("lost its head; waiting for the driver on a new head")
    verbs.cancel(cluster, run)
    assert (run.status().state, api.jobs) == (State.CANCELLED, {})


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ("queue: team-c", "cluster 'test' has no queue 'team-c'; it has team-a, team-b"),
        ("queue: team-a, priority: hihg", "cluster 'test' has no priority 'hihg'; it has high, low"),
        ("priority: high", "it orders the jobs of a queue, and this job has none"),
    ],
)
def test_a_queue_or_priority_that_does_not_exist_is_refused(cluster, api, resources, words):
    job = parse_job(f"{JOB}resources: {{{resources}}}\n", "digits.yaml").job
    with pytest.raises(JobError, match=words):
        cluster.submit(job)
    assert api.jobs == {}


def test_nothing_is_here_of_what_the_cluster_does_not_take(cluster, api):
    api.full = True
    with pytest.raises(ClusterError, match="exceeded quota"):
        cluster.submit(parse_job(JOB, "digits.yaml").job)
    (folder,) = cluster.settings.home.glob("runs/*")
    assert json.loads((folder / "state.json").read_text())["state"] == "FAILED"


def test_a_key_is_one_run_from_every_home_and_for_one_job(cluster, api, tmp_path):
    job = parse_job(JOB, "digits.yaml").job
    origin = Origin(key="nightly", run="digits-aaaaaaaa")
    other = KubernetesCluster(
        Settings(tmp_path / "other", "", cluster="test"), ClusterSettings("test", namespace="team"), api
    )
    assert cluster.submit(job, origin).path.name == other.submit(job, origin).path.name
    assert len(api.jobs) == 1
    changed = parse_job(JOB, "digits.yaml", ["training.epochs=3"]).job
    third = KubernetesCluster(Settings(tmp_path / "third", "", cluster="test"), ClusterSettings("test"), api)
    with pytest.raises(JobError, match="which has another job"):
        third.submit(changed, origin)
    with pytest.raises(AlreadyExists):
        cluster.submit(job, Origin(run="digits-aaaaaaaa"))


def test_requests_reach_the_driver_that_works_and_end_what_has_none(cluster, api, run):
    name = run.path.name
    api.says(name, "Running", RunStatus(State.RUNNING, attempt=1))
    verbs.pause(cluster, run)
    assert api.jobs[name]["metadata"]["annotations"]["stoker.dev/request"] == "pause"
    verbs.cancel(cluster, run)
    assert api.jobs[name]["metadata"]["annotations"]["stoker.dev/request"] == "cancel"
    api.says(name, "Complete", RunStatus(State.PAUSED, attempt=1))
    verbs.cancel(cluster, run)
    assert (run.status().state, api.jobs) == (State.CANCELLED, {})
    with pytest.raises(NotFound, match="nothing to kill"):
        verbs.kill(cluster, run)


def test_kill_deletes_the_rayjob_and_cancels_the_run_at_once(cluster, api, run):
    api.says(run.path.name, "Running", RunStatus(State.RUNNING, attempt=1))
    assert verbs.kill(cluster, run) == ""
    assert (run.status().state, api.jobs) == (State.CANCELLED, {})


def test_a_resumed_run_comes_back_with_a_word_and_its_code(cluster, api, tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "net.py").write_text("x = 1\n")
    run = cluster.submit(parse_job(JOB, "digits.yaml").job, Origin(code=tmp_path / "code"))
    first = dict(api.maps[run.path.name])
    api.says(run.path.name, "Complete", RunStatus(State.PAUSED, attempt=1, checkpoint_step=9))
    verbs.resume(cluster, run)
    rayjob = api.jobs[run.path.name]
    (head,) = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    assert "STOKER_REOPEN" in [each["name"] for each in head["env"]]
    assert api.maps[run.path.name]["code-0000"] == first["code-0000"] == "x = 1\n"
    status = cluster.refresh(run).status
    assert (status.state, status.checkpoint_step) == (State.PROVISIONING, 9)
    with pytest.raises(NotFound, match="its driver is alive"):
        verbs.resume(cluster, run)


def head_variables(rayjob):
    (head,) = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value") for each in head["env"]}


def test_a_trial_is_cancelled_alone_and_a_sweep_that_has_ended_gets_more_trials(cluster, api):
    text = JOB + "sweep: {trials: 4, space: {training.optimizer.lr: {min: 0.001, max: 0.1}}}\n"
    run = cluster.submit(job := parse_job(text, "digits.yaml").job)
    ledger = Ledger(run.ledger)
    for number in range(2):
        ledger.begin(number, {}, {"training.optimizer.lr": 0.01})
        create_trial_folder(run, job, number, {"training.optimizer.lr": 0.01})
    write_facts(run, SweepFacts("accuracy/val", "max", trials=4))
    api.says(run.path.name, "Running", RunStatus(State.RUNNING, attempt=1))
    verbs.cancel(cluster, run.trial(1))
    assert api.jobs[run.path.name]["metadata"]["annotations"]["stoker.dev/request"] == "cancel 1"
    for verb in (verbs.pause, verbs.resume):
        with pytest.raises(NotFound, match="is a trial"):
            verb(cluster, run.trial(1))
    with pytest.raises(NotFound, match="can be extended once it has succeeded"):
        verbs.extend(cluster, run, 20)
    api.says(run.path.name, "Complete", RunStatus(State.SUCCEEDED, attempt=1))
    with pytest.raises(NotFound, match="no trial of it is running"):
        verbs.cancel(cluster, run.trial(1))
    verbs.extend(cluster, run, 20)
    assert head_variables(api.jobs[run.path.name])["STOKER_MORE_TRIALS"] == "20"
    assert cluster.refresh(run).state is State.PROVISIONING
    write_facts(run, SweepFacts("accuracy/val", "max", trials=24))
    api.says(run.path.name, "Complete", RunStatus(State.PAUSED, attempt=2))
    verbs.resume(cluster, run)
    assert head_variables(api.jobs[run.path.name])["STOKER_MORE_TRIALS"] == "20"


def test_an_untracked_run_whose_rayjob_is_gone_is_interrupted(cluster, api, run):
    api.jobs.clear()
    record = cluster.refresh(run)
    assert (record.state, record.status.message) == (State.INTERRUPTED, "its RayJob no longer exists")


def test_a_page_that_is_not_to_be_had_is_said_and_nothing_is_made_up(cluster, api):
    run = cluster.submit(parse_job(JOB.replace("tracking: none\n", ""), "digits.yaml").job)
    api.jobs.clear()
    with pytest.raises(Unreachable, match="no pod of mlflow"):
        cluster.refresh(run)
    assert run.status().state is State.PROVISIONING


def test_somebody_elses_run_is_shown_and_taken_in(cluster, api, run, tmp_path):
    other = KubernetesCluster(Settings(tmp_path / "b", "", cluster="there"), ClusterSettings("there"), api)
    (record,) = other.runs()
    assert (record.id, record.header.cluster) == (run.path.name, "there")
    for reference in (run.path.name, "digits", run.path.name[:-2]):
        folder = KubernetesCluster(
            Settings(tmp_path / reference, "", cluster="there"), ClusterSettings("there"), api
        ).adopt(reference)
        assert folder.header().id == run.path.name
        assert folder.adopted.exists()
        assert "image-classification" in folder.job.read_text()
    with pytest.raises(NotFound, match="no run 'nothing' here"):
        other.adopt("nothing")


def test_each_line_of_the_log_comes_once_and_none_of_rays_own(cluster, api, run):
    name = run.path.name
    api.printed[f"{name}/1"] = (
        "2026-01-01T01:00:00.5Z 2026-01-01 01:00:00,1\tINFO cli.py:42 -- Job submission server address: x\n"
        "2026-01-01T01:00:00.52Z first\n"
    )
    cluster.fetch_log(run)
    api.printed[f"{name}/1"] += "2026-01-01T01:00:01Z second\n"
    cluster.fetch_log(run)
    api.printed[f"{name}/2"] = "2026-01-01T01:00:02.123456789Z third\n"
    cluster.fetch_log(run)
    cluster.fetch_log(run)
    assert run.log.read_text() == "first\nsecond\nthird\n"
    api.printed.clear()
    cluster.fetch_log(run)
    assert run.log.read_text() == "first\nsecond\nthird\n"


def test_the_log_has_no_traceback_of_rays_client_and_all_of_the_runs_own(cluster, api, run):
    texts = (
        "Traceback (most recent call last):",
        '  File "/opt/venv/bin/ray", line 10, in <module>',
        "    sys.exit(main())",
        "RuntimeError: WebSocket connection closed unexpectedly",
        "Traceback (most recent call last):",
        '  File "net.py", line 1, in forward',
        "ValueError: mine",
        "Traceback (most recent call last):",
    )
    printed = [f"2026-01-01T01:00:{second:02d}Z {text}\n" for second, text in enumerate(texts)]
    api.printed[f"{run.path.name}/1"] = "".join(printed)
    cluster.fetch_log(run)
    assert run.log.read_text().splitlines() == list(texts[4:])


def test_a_progress_bar_in_the_log_harms_nothing(cluster, api, run):
    name = run.path.name
    bar = "2026-01-01T01:00:00.5Z 10%|#  |\rDownloading: 20%|##  |\x0c\u2028x\n"
    api.printed[f"{name}/1"] = f"{bar}unable to retrieve container logs for containerd://0\n"
    cluster.fetch_log(run)
    api.printed[f"{name}/1"] += "2026-01-01T01:00:01Z second\n"
    cluster.fetch_log(run)
    assert run.log.read_bytes().split(b"\n")[-2:] == [b"second", b""]
    (run.path / ".log.until").write_text("nonsense")
    cluster.fetch_log(run)


def test_a_run_that_another_home_resumed_is_not_deleted_as_an_old_one(cluster, api, run):
    name = run.path.name
    api.says(name, "Failed", RunStatus(State.FAILED, cause="HANG", attempt=1))
    assert cluster.refresh(run).state is State.FAILED
    api.says(name, "Running", RunStatus(State.RUNNING, attempt=2))
    with pytest.raises(NotFound, match="its driver is alive"):
        verbs.resume(cluster, run)
    assert name in api.jobs
    api.says(name, "Failed", RunStatus(State.FAILED, cause="HANG", attempt=2))
    assert cluster.refresh(run).state is State.FAILED
    api.down = True
    assert cluster.refresh(run).state is State.FAILED


def test_a_key_of_another_job_is_refused_however_often_it_is_tried(cluster, api, tmp_path):
    origin = Origin(key="nightly", run="digits-aaaaaaaa")
    cluster.submit(parse_job(JOB, "digits.yaml").job, origin)
    other = KubernetesCluster(Settings(tmp_path / "b", "", cluster="test"), ClusterSettings("test"), api)
    for _ in range(2):
        with pytest.raises(JobError, match="which has another job"):
            other.submit(parse_job(JOB, "digits.yaml", ["training.epochs=3"]).job, origin)
        assert not list((tmp_path / "b").glob("runs/*"))


def test_a_run_that_waits_for_its_place_again_ends_without_a_driver(cluster, api, run):
    api.says(run.path.name, "Suspended", RunStatus(State.RUNNING, attempt=1))
    assert cluster.refresh(run).state is State.QUEUED
    verbs.cancel(cluster, run)
    assert (run.status().state, api.jobs) == (State.CANCELLED, {})


def test_polling_continues_after_the_cluster_was_unreachable(cluster, api, run):
    seen = []
    for record in poll(cluster, run):
        seen.append(record.state)
        api.down = len(seen) == 1
        if len(seen) == 2:
            api.says(run.path.name, "Complete", RunStatus(State.SUCCEEDED))
    assert seen == [State.PROVISIONING, State.PROVISIONING, State.SUCCEEDED]


def test_an_older_word_of_the_driver_is_read_without_what_is_new(cluster, api, run):
    status = {**asdict(replace(RunStatus(), state=State.RUNNING)), "unheard_of": 1}
    api.jobs[run.path.name]["status"] = {"jobDeploymentStatus": "Running"}
    api.annotate(run.path.name, "stoker.dev/status", json.dumps(status))
    api.annotate(run.path.name, "stoker.dev/progress", json.dumps({"step": 3, "unheard_of": 2}))
    assert cluster.refresh(run).state is State.RUNNING
    assert run.progress().step == 3


def test_another_version_is_not_talked_to():
    require_version("", "prod")
    require_version(stoker.__version__, "prod")
    require_version(stoker.__version__ + "rc1", "prod")
    with pytest.raises(ClusterError, match=r"cluster 'prod' runs Stoker 99\.1\.0, this is"):
        require_version("99.1.0", "prod")


CLIENT = """
import sys
from stoker.cli.main import main
code = main(["submit", sys.argv[1], "--cluster", "away"])
print(code, sorted({"torch", "ray", "mlflow", "pandas"} & set(sys.modules)))
"""


def test_a_client_of_a_cluster_loads_neither_torch_nor_ray_nor_mlflow(tmp_path):
    (tmp_path / "job.yaml").write_text(JOB)
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    content = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "c"}
    (tmp_path / "kubeconfig").write_text(json.dumps(content))
    (tmp_path / "stoker").mkdir()
    (tmp_path / "stoker" / "config.yaml").write_text("clusters: {away: {namespace: x}}\n")
    environment = {**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(tmp_path / "job.yaml")],
        env={**environment, "STOKER_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "4 []\n", done
    assert "cluster 'away' does not answer" in done.stderr
