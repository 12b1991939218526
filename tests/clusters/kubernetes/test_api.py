"""A run's start over a way that loses answers, against a small server that keeps objects as Kubernetes does."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from stoker.clusters.kubernetes.api import KubeApi, current_context
from stoker.clusters.kubernetes.api_errors import AlreadyExists
from stoker.clusters.kubernetes.cluster import KubernetesCluster
from stoker.clusters.kubernetes.profile import Profile
from stoker.clusters.kubernetes.rest import TIMEOUT_S, KubeRest
from stoker.clusters.new_run import Origin
from stoker.errors import ClusterError, Unreachable
from stoker.jobfile.loading import parse_job
from stoker.settings import ClusterSettings, Settings
from stoker.tracking.run import State

JOB = "name: digits\ntask: image-classification\ndataset: digits\ntracking: none\n"
RAYJOBS = "/apis/ray.io/v1/namespaces/team/rayjobs"
MAPS = "/api/v1/namespaces/team/configmaps"
PROFILE = Profile(image="stoker:1", tracking_uri="http://mlflow.team:5000", storage_claim="runs")


class Server(ThreadingHTTPServer):
    """A namespace's objects by path; told to, it loses a request or its answer on the way to a collection."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        profile = {"data": {"profile.yaml": PROFILE.model_dump_json()}}
        self.objects = {f"{MAPS}/stoker-profile": profile}
        self.asked = Counter()
        """How often it was asked for each thing, dry runs aside."""
        self.loses: dict[str, str] = {}
        """What happens to the next object of a collection; see Handler.lose."""
        self.over = threading.Event()

    def create(self, path, manifest):
        place = f"{path}/{manifest['metadata']['name']}"
        if place in self.objects:
            return False
        metadata = {**manifest["metadata"], "uid": f"uid-{len(self.objects)}"}
        self.objects[place] = {**manifest, "metadata": metadata}
        return True

    def delete(self, place):
        """Delete an object and what it owns."""
        gone = self.objects.pop(place)
        for other, each in list(self.objects.items()):
            owners = each.get("metadata", {}).get("ownerReferences", [])
            if gone["metadata"]["uid"] in [owner["uid"] for owner in owners]:
                del self.objects[other]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        self.answer(*self.found())

    def do_POST(self):
        manifest = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        url = urlsplit(self.path)
        if "dryRun" in parse_qs(url.query):
            return self.answer(201, manifest)
        place = f"{url.path}/{manifest['metadata']['name']}"
        self.server.asked[f"POST {place}"] += 1
        loss = self.server.loses.pop(url.path, "")
        if loss == "a webhook":
            reason = 'failed calling webhook "vrayjob.kb.io": failed to call webhook: connect: connection refused'
            return self.answer(500, {"message": f"Internal error occurred: {reason}"})
        if loss == "the request":
            return self.lose(loss)
        if not self.server.create(url.path, manifest):
            return self.answer(409, {"message": "already exists"})
        return self.lose(loss) if loss else self.answer(201, self.server.objects[place])

    def do_DELETE(self):
        code, found = self.found()
        if code == 200:
            self.server.delete(self.path)
        self.answer(code, found)

    def found(self):
        found = self.server.objects.get(urlsplit(self.path).path)
        return (200, found) if found else (404, {"message": "not found"})

    def lose(self, what):
        if what == "half the answer":
            self.send_response(201)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b'{"metadata": {"uid"')
        elif what == "the answer at a proxy":
            self.answer(504, {"message": "gateway timeout"})
        elif what == "the answer, silently":
            self.server.over.wait(6 * TIMEOUT_S)
        self.close_connection = True

    def answer(self, code, content):
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def cluster(server, tmp_path, monkeypatch):
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    servers = [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}]
    users = [{"name": "u", "user": {"token": "t"}}]
    content = {"clusters": servers, "contexts": [context], "users": users, "current-context": "c"}
    (tmp_path / "kubeconfig").write_text(json.dumps(content))
    # Kubernetes' client reads KUBECONFIG when it is imported.
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    settings = ClusterSettings("test", namespace="team")
    return KubernetesCluster(Settings(tmp_path / "home", "", cluster="test"), settings, KubeApi(settings))


@pytest.fixture
def origin(tmp_path):
    """Code that two ConfigMaps hold."""
    (tmp_path / "code").mkdir()
    for name in ("a.py", "b.py"):
        (tmp_path / "code" / name).write_text("#" * 800_000)
    return Origin(code=tmp_path / "code", key="nightly", run="digits-0a1b2c3d")


def of_run(server):
    return sorted(place for place in server.objects if not place.endswith("stoker-profile"))


def test_a_webhook_that_restarts_is_waited_for(server, cluster, origin, monkeypatch):
    monkeypatch.setattr("stoker.clusters.kubernetes.rest.WEBHOOK_RETRY_S", 0.01)
    server.loses[RAYJOBS] = "a webhook"
    cluster.submit(parse_job(JOB, "job.yaml").job, origin)
    assert of_run(server) == WHOLE
    assert server.asked[f"POST {RAYJOBS}/digits-0a1b2c3d"] == 2


def test_a_webhook_that_stays_away_is_named(server, cluster, origin, monkeypatch):
    monkeypatch.setattr("stoker.clusters.kubernetes.rest.WEBHOOK_S", 0)
    server.loses[RAYJOBS] = "a webhook"
    with pytest.raises(Unreachable, match=r"vrayjob\.kb\.io"):
        cluster.submit(parse_job(JOB, "job.yaml").job, origin)


WHOLE = [f"{MAPS}/digits-0a1b2c3d", f"{MAPS}/digits-0a1b2c3d-1", f"{RAYJOBS}/digits-0a1b2c3d"]


@pytest.mark.parametrize(
    "lost",
    [
        "nothing",
        "the answer",
        "half the answer",
        "the answer at a proxy",
        pytest.param("the answer, silently", marks=pytest.mark.slow),
    ],
)
def test_a_run_is_created_once_and_completely_even_if_the_response_is_lost(cluster, server, origin, lost):
    server.loses = {} if lost == "nothing" else {RAYJOBS: lost}
    folder = cluster.submit(parse_job(JOB, "digits.yaml").job, origin)
    assert server.loses == {}
    assert of_run(server) == WHOLE
    assert server.asked == {f"POST {place}": 1 for place in WHOLE}
    rayjob = server.objects[f"{RAYJOBS}/digits-0a1b2c3d"]
    for place in WHOLE[:2]:
        (owner,) = server.objects[place]["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("RayJob", rayjob["metadata"]["uid"])
    assert folder.status().state is State.PROVISIONING


def test_the_rayjob_of_a_removed_run_is_deleted(cluster, server, origin):
    folder = cluster.submit(parse_job(JOB, "digits.yaml").job, origin)
    cluster.remove(folder)
    assert f"{RAYJOBS}/digits-0a1b2c3d" not in server.objects
    cluster.remove(folder)  # nothing is left to delete


def test_a_run_whose_start_request_is_lost_leaves_no_objects(cluster, server, origin):
    server.loses = {RAYJOBS: "the request"}
    with pytest.raises(Unreachable, match="cluster 'test' does not answer"):
        cluster.submit(parse_job(JOB, "digits.yaml").job, origin)
    assert of_run(server) == []
    assert server.asked == {f"POST {RAYJOBS}/digits-0a1b2c3d": 1}


@pytest.mark.parametrize("lost", ["the request", "the answer"])
def test_a_run_whose_inputs_are_lost_does_not_wait_for_them(cluster, server, origin, lost):
    server.loses = {MAPS: lost}
    with pytest.raises(Unreachable, match="cluster 'test' does not answer"):
        cluster.submit(parse_job(JOB, "digits.yaml").job, origin)
    assert of_run(server) == []


def test_a_start_that_was_lost_does_not_touch_the_run_that_another_one_has_begun(cluster, server, origin):
    job = parse_job(JOB, "digits.yaml").job
    theirs, mine = cluster.render(job, origin), cluster.render(job, origin)
    cluster.api.create(*theirs[:2])
    server.loses = {RAYJOBS: "the request"}
    with pytest.raises(AlreadyExists, match="cluster 'test' has another RayJob digits-0a1b2c3d"):
        cluster.api.create(*mine[:2])
    assert of_run(server) == WHOLE


def test_the_current_context_is_named(cluster, tmp_path, monkeypatch):
    assert current_context() == "c"
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    assert current_context() == ""


@pytest.fixture
def pod(tmp_path, monkeypatch):
    """Make the files and variables of a pod's service account, and no kubeconfig; return the place for one."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name, constant in (("token", "SERVICE_TOKEN_FILENAME"), ("ca.crt", "SERVICE_CERT_FILENAME")):
        (tmp_path / name).write_text(f"the {name}")
        monkeypatch.setattr(f"kubernetes.config.incluster_config.{constant}", str(tmp_path / name))
    places = f"{tmp_path / 'none'}:{tmp_path / 'kubeconfig'}"
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", places)
    return tmp_path / "kubeconfig"


def test_a_pod_without_a_kubeconfig_uses_its_service_account(pod):
    access = KubeRest(ClusterSettings("test")).new_client().configuration
    assert (access.host, access.ssl_ca_cert) == ("https://10.0.0.1:443", str(pod.with_name("ca.crt")))
    assert access.auth_settings()["BearerToken"]["value"] == "bearer the token"


def test_a_kubeconfig_or_a_named_context_comes_before_the_service_account(pod):
    with pytest.raises(ClusterError, match="No configuration found"):
        KubeApi(ClusterSettings("test", kube_context="prod"))
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    servers = [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}]
    users = [{"name": "u", "user": {"token": "t"}}]
    content = {"clusters": servers, "contexts": [context], "users": users, "current-context": "c"}
    pod.write_text(json.dumps(content))
    assert KubeRest(ClusterSettings("test")).new_client().configuration.host == "http://127.0.0.1:1"


def test_without_a_kubeconfig_and_a_service_account_the_cure_is_named(pod):
    pod.with_name("token").unlink()
    with pytest.raises(ClusterError, match="name a context of your kubeconfig"):
        KubeApi(ClusterSettings("test"))
