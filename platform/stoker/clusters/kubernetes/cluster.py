"""A namespace of a Kubernetes cluster with KubeRay: each run is a RayJob, and this client may vanish at any time.

What this home knows of such a run is a folder like any other one's, brought up to date from the cluster when somebody
asks. The client imports neither torch nor ray nor mlflow.
"""

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import stoker
from stoker.clusters.home_folder import make_home
from stoker.clusters.kubernetes.api import KubeApi, Taken
from stoker.clusters.kubernetes.config_maps import inputs_manifests
from stoker.clusters.kubernetes.events import Event, events_of
from stoker.clusters.kubernetes.metadata import RUN_LABEL
from stoker.clusters.kubernetes.mlflow_access import reach_mlflow
from stoker.clusters.kubernetes.pod_logs import append_news
from stoker.clusters.kubernetes.profile import Profile
from stoker.clusters.kubernetes.rayjob import HEADER, JOB, rayjob_manifest
from stoker.clusters.kubernetes.rayjob_states import run_status, why_it_waits
from stoker.clusters.local.cluster import Origin, new_header
from stoker.clusters.mlflow_api import Pages, end_page
from stoker.clusters.preconditions import require_driver, require_resumable, require_success, require_whole
from stoker.clusters.restart import Again
from stoker.clusters.trial_sync import added_trials, fetch_trials, trial_request
from stoker.errors import Cause, ClusterError, JobError, NotFound, Problem, StokerError, Unreachable
from stoker.execution.contract import PROGRESS, REQUEST, STATUS
from stoker.jobfile.loading import dump_job, load_job
from stoker.settings import ClusterSettings, Settings
from stoker.tracking.record import RunFolder
from stoker.tracking.run import Progress, RunHeader, RunRecord, RunStatus, State, cancelled, known, now, status_from

if TYPE_CHECKING:
    from stoker.job.job import Job

HAS_DRIVER = (State.STARTING, State.RUNNING, State.RETRYING)
"""Somebody is there to hear a request, once there was an attempt; what waits for pods again is ended without one."""


class KubernetesCluster:
    """Submits, rests and ends runs in one namespace."""

    poll_s = 1.0

    def __init__(self, settings: Settings, cluster: ClusterSettings, api: KubeApi | None = None) -> None:
        self.settings = settings
        self.name = cluster.name
        self._namespace = cluster.namespace
        self.api = api or KubeApi(cluster)

    def render(self, job: "Job", origin: Origin) -> tuple[dict[str, Any], list[dict[str, Any]], RunHeader]:
        """Write down the objects of a run, its RayJob and the ConfigMaps of its inputs; nothing is made.

        Raises:
            JobError: the administrator does not allow what the job asks for.
            ClusterError: the cluster refuses to say.

        """
        profile = self._profile()
        header = replace(new_header(job, self.settings, origin), cluster=self.name, storage="")
        if job.tracking != "none":
            header = replace(header, tracking_uri=profile.tracking_uri)
        code = {name: path.read_bytes() for name, path in origin.files().items()}
        rayjob = rayjob_manifest(job, header, self._namespace, profile, code)
        return rayjob, inputs_manifests(job, header, self._namespace, code), header

    def submit(self, job: "Job", origin: Origin | None = None) -> RunFolder:
        """Give a run to the cluster and return at once.

        With a key it is the run that the key has there, whoever has submitted it.

        Raises:
            JobError: the administrator does not allow what the job asks for, or the key is another job's.
            ClusterError: the cluster refuses, with its words.
            Unreachable: it does not answer.

        """
        origin = origin or Origin()
        rayjob, inputs, header = self.render(job, origin)
        make_home(self.settings.home)
        folder = RunFolder(self.settings.home / "runs" / header.id)
        try:
            if origin.key and self._ended_long_ago(header):
                raise Taken(header.id)
            self.api.try_out(rayjob)
            folder.create(header, dump_job(job), origin.files())
            self.api.start(rayjob, inputs)
            folder.write_status(RunStatus(State.PROVISIONING, phase="getting its pods"))
        except Taken:
            if not origin.key:
                raise
            self._require_same_job(header.id, rayjob, origin.key)
            if not folder.readable():
                folder.create(header, dump_job(job), origin.files())
        except Unreachable:  # it may be there all the same: whoever asks for it later will see
            raise
        except StokerError:
            if folder.readable():  # it is not there, so it was never begun
                lost = RunStatus(State.FAILED, cause=Cause.INFRASTRUCTURE, message="the cluster did not take it")
                folder.write_status(replace(lost, phase="", ended=now(), exit_code=1))
            raise
        return folder

    def refresh(self, folder: RunFolder) -> RunRecord:
        """Bring this home's folder of a run, or of a trial and its sweep, up to date, and return its record.

        Raises:
            Unreachable: the cluster does not answer.

        """
        whole = folder.sweep or folder
        self._look(whole)
        fetch_trials(whole, self._pages)
        return folder.record()

    def _look(self, folder: RunFolder) -> None:
        """Bring the folder of a run that is no trial to what the cluster says of it."""
        before = folder.status()
        if before.state is State.SUCCEEDED:
            return
        try:
            rayjob = self.api.rayjob(folder.path.name)
        except Unreachable:
            if before.state.final:  # it may only have been resumed from another home since
                return
            raise
        if rayjob is None or rayjob["metadata"].get("deletionTimestamp"):
            status = self._status_of_gone(folder.header(), before)
        else:
            silent = replace(before, state=State.STARTING, cause="", message="", ended=0.0, exit_code=0)
            status, said = _status_of(rayjob, silent)
            if not status.state.ended and not (said and status.works):
                why = self._why_it_waits(folder.path.name, queued=status.state is State.QUEUED)
                status = replace(status, message=why or status.message)
            if status.state is State.INTERRUPTED:  # its last word may have reached MLflow alone
                status = self._said_by_page(folder.header(), before) or status
            if before.state.final and not said:  # the same end, or a resume whose driver has not spoken yet
                status = before if status.state.ended else status
            if progress := _annotations(rayjob).get(PROGRESS):
                folder.write_progress(Progress(**known(Progress, json.loads(progress))))
        if status != before:
            folder.write_status(status)

    def resume(self, folder: RunFolder) -> None:
        """Let a run that did not come to its end go on, as a new RayJob of the same name.

        Raises:
            NotFound: it has succeeded, or goes on.

        """
        self.refresh(folder)
        require_resumable(folder)
        self._start_again(folder)

    def extend(self, folder: RunFolder, trials: int) -> None:
        """Let a sweep that has succeeded go on with more trials, and return at once.

        Raises:
            NotFound: it has not succeeded.

        """
        self.refresh(folder)
        require_success(folder)
        self._start_again(folder, trials)

    def _start_again(self, folder: RunFolder, trials: int = 0) -> None:
        header, job = folder.header(), load_job(folder.job, code=folder.code).job
        code = folder.code_content()
        word = os.urandom(4).hex()
        again = Again(word, added_trials(folder, job) + trials)
        rayjob = rayjob_manifest(job, header, self._namespace, self._profile(), code, again)
        self.api.delete(header.id)
        self.api.await_gone(header.id)
        self.api.start(rayjob, inputs_manifests(job, header, self._namespace, code))
        folder.reopen(word)

    def cancel(self, folder: RunFolder) -> str:
        """Ask a run to end, with a checkpoint; one that waits or rests ends at once. A trial ends alone.

        Raises:
            NotFound: it has ended for good.

        """
        record = self._open(folder, "cancel")
        if sweep := folder.sweep:
            require_driver(sweep)
            self.api.annotate(sweep.path.name, REQUEST, trial_request(folder))
            return ""
        if record.state in HAS_DRIVER and record.status.attempt:
            self.api.annotate(record.id, REQUEST, "cancel")
            return ""
        return self._end(folder)

    def kill(self, folder: RunFolder) -> str:
        """End a run at once, without a checkpoint; return what its page in MLflow did not come to know, or nothing.

        A trial is asked to end, as by `cancel`: it shares its processes with others.

        Raises:
            NotFound: it has ended for good.

        """
        if folder.sweep:
            return self.cancel(folder)
        self._open(folder, "kill")
        return self._end(folder)

    def pause(self, folder: RunFolder) -> None:
        """Ask a run to rest at a checkpoint.

        Raises:
            NotFound: nothing works on it, or it is a trial.

        """
        require_whole(folder, "pause")
        record = self.refresh(folder)
        if record.state.ended:
            raise NotFound(f"{record.id} is {record.state}: nothing to pause")
        self.api.annotate(record.id, REQUEST, "pause")

    def fetch_log(self, folder: RunFolder) -> None:
        """Bring what the run has printed so far to this home, or the copy that MLflow has where its pods are gone."""
        folder = folder.sweep or folder
        run = folder.path.name
        pods = self.api.pods(f"job-name={run}")
        if pods:
            append_news(self.api, folder, pods)
        elif not folder.log.exists() and folder.header().experiment:
            with self._pages() as pages:
                pages.fetch(folder.header().experiment, run, folder.log.name, folder.log)

    def fetch_model(self, folder: RunFolder) -> None:
        """Bring a run's model here from its page, unless it is here.

        Raises:
            NotFound: there is none.

        """
        uri = folder.status().model_uri
        if folder.model.exists() or not uri:
            return
        with self._pages() as pages:
            pages.fetch_model(uri, folder.model)

    def events(self, folder: RunFolder) -> list[Event]:
        """Tell what has happened to a run and its pods, the oldest first."""
        run = (folder.sweep or folder).path.name
        return events_of(self.api.events(run), run)

    def runs(self) -> list[RunRecord]:
        """List the runs that the cluster still has, whoever has submitted them, the newest first."""
        found = []
        for rayjob in self.api.rayjobs():
            header, (status, _) = self._header_of(rayjob), _status_of(rayjob, RunStatus())
            found.append(RunRecord(header, status, self.settings.home / "runs" / header.id))
        return sorted(found, key=lambda record: record.header.order, reverse=True)

    def adopt(self, reference: str) -> RunFolder:
        """Make a folder in this home for a run that somebody else has submitted.

        Args:
            reference: its id, the start of its id, or its job's name.

        Raises:
            NotFound: no run of the cluster, or several, answer to it.

        """
        records = self.runs()
        exact = [each for each in records if reference == each.id] or [
            each for each in records if reference == each.header.name
        ]
        found = exact[:1] or [each for each in records if each.id.startswith(reference)]
        if len(found) != 1:
            ids = ", ".join(each.id for each in (found or records)[:5])
            raise NotFound(f"no run '{reference}' here, and not one of that name on cluster '{self.name}' ({ids})")
        folder, inputs = RunFolder(found[0].folder), self.api.config_map(found[0].id) or {}
        make_home(self.settings.home)
        folder.create(found[0].header, inputs.get("job.yaml", ""))
        folder.adopted.touch()
        return folder

    def tracking(self, port: int = 0) -> AbstractContextManager[tuple[str, str, str]]:
        """Reach the cluster's MLflow for the length of the block; see `reach_mlflow`."""
        return reach_mlflow(self.api, self._namespace, port)

    @contextmanager
    def _pages(self) -> Iterator[Pages]:
        with self.tracking() as (address, user, password):
            yield Pages(address, user, password)

    def _why_it_waits(self, run: str, queued: bool) -> str:
        workload = self.api.workload(run) if queued else None
        return why_it_waits(self.api.pods(f"{RUN_LABEL}={run}"), self.api.events(run), workload)

    def _profile(self) -> Profile:
        """Read what the administrator says, unless it is meant for another version."""
        profile = self.api.profile()
        require_version(profile.version, self.name)
        return profile

    def _status_of_gone(self, header: RunHeader, before: RunStatus) -> RunStatus:
        """Tell how a run stands that has no RayJob any more: as its page says, else as it was known last."""
        if before.state.ended:
            return before
        if said := self._said_by_page(header, before):
            return said
        return replace(before, state=State.INTERRUPTED, message="its RayJob is not there any more", ended=now())

    def _said_by_page(self, header: RunHeader, before: RunStatus) -> RunStatus | None:
        if not header.experiment:
            return None
        with self._pages() as pages:
            return pages.status(header.experiment, header.id, before)

    def _open(self, folder: RunFolder, verb: str) -> RunRecord:
        record = self.refresh(folder)
        if record.state.final:
            raise NotFound(f"{record.id} is {record.state}: nothing to {verb}")
        return record

    def _end(self, folder: RunFolder) -> str:
        """End a run without its driver."""
        header = folder.header()
        self.api.delete(header.id)
        folder.write_status(cancelled(folder.status()))
        return end_page(header, self._pages)

    def _ended_long_ago(self, header: RunHeader) -> bool:
        """Tell whether MLflow has a run of this id whose RayJob is gone."""
        if not header.experiment or self.api.rayjob(header.id) is not None:
            return False
        with self._pages() as pages:
            return pages.find(header.experiment, header.id) is not None

    def _require_same_job(self, run: str, mine: dict[str, Any], key: str) -> None:
        theirs = self.api.rayjob(run)
        if theirs is not None and _annotations(theirs).get(JOB) != _annotations(mine)[JOB]:
            message = f"the key '{key}' is that of {run}, which has another job; choose another key"
            raise JobError([Problem("", message)])

    def _header_of(self, rayjob: dict[str, Any]) -> RunHeader:
        """Read who a run is, in the words of this home."""
        said = known(RunHeader, json.loads(_annotations(rayjob).get(HEADER, "{}")))
        return replace(RunHeader(**said), cluster=self.name)


def require_version(theirs: str, cluster: str) -> None:
    """Refuse to talk to another version than this one, of which the last number alone may differ.

    Raises:
        ClusterError: it is another one.

    """
    if theirs and theirs.split(".")[:2] != stoker.__version__.split(".")[:2]:
        cure = f"install stoker=={theirs} here, or let its administrator upgrade the chart"
        raise ClusterError(f"cluster '{cluster}' runs Stoker {theirs}, this is {stoker.__version__}; {cure}")


def _annotations(rayjob: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = rayjob["metadata"].get("annotations", {})
    return found


def _status_of(rayjob: dict[str, Any], silent: RunStatus) -> tuple[RunStatus, bool]:
    """Derive a run's status, and tell whether its driver has spoken; `silent` stands for one that has not."""
    said = _annotations(rayjob).get(STATUS)
    heard = status_from(json.loads(said)) if said else silent
    return run_status(rayjob.get("status", {}), heard, bool(said)), bool(said)
