"""How often KubeRay may start a driver again, as the driver tells a server that keeps one RayJob."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from kubernetes import client, config

from stoker.execution.contract import NAMESPACE, RAYJOB
from stoker.execution.rayjob_channel import (
    _own_channel,
    ask_for_all_workers,
    limit_retries,
    pods_replacer,
    without_nodes,
)


@pytest.fixture
def rayjob(monkeypatch) -> Iterator[dict[str, Any]]:
    kept: dict[str, Any] = {"metadata": {"annotations": {}}, "spec": {"backoffLimit": 9}, "status": {"failed": 2}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(kept).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PATCH(self) -> None:
            change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if isinstance(change, list):
                assert self.headers["Content-Type"] == "application/json-patch+json"
                kept["asked"] = {f"{self.path.rpartition('/')[2]}{each['path']}": each["value"] for each in change}
            else:
                kept["metadata"]["annotations"] |= change.get("metadata", {}).get("annotations", {})
                kept["spec"] |= change.get("spec", {})
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        here = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(config, "load_incluster_config", lambda: client.Configuration.set_default(here))
        monkeypatch.setenv(RAYJOB, "digits")
        monkeypatch.setenv(NAMESPACE, "team")
        yield kept
        client.Configuration.set_default(None)
        server.shutdown()
        thread.join()


def test_a_driver_may_be_lost_so_often_in_a_row_without_a_new_checkpoint(rayjob):
    limit_retries(3)
    assert rayjob["spec"]["backoffLimit"] == 2 + 3  # instead of the rounds of waiting for pods
    rayjob["status"]["failed"] = 4
    limit_retries(3)
    channel = _own_channel()
    assert channel is not None
    channel.renew_retries(3, checkpoint_step=0)
    assert rayjob["spec"]["backoffLimit"] == 5
    channel.renew_retries(3, checkpoint_step=40)
    assert rayjob["spec"]["backoffLimit"] == 4 + 3
    channel.renew_retries(3, checkpoint_step=40)
    channel.close()
    assert rayjob["spec"]["backoffLimit"] == 0


def test_the_driver_of_an_elastic_run_asks_for_the_largest_number_of_pods(rayjob):
    group = {"replicas": 2, "minReplicas": 2, "maxReplicas": 4}
    rayjob["spec"]["rayClusterSpec"] = {"workerGroupSpecs": [group]}
    rayjob["status"]["rayClusterName"] = "digits-abcde"
    ask_for_all_workers()
    assert rayjob.pop("asked") == {"digits-abcde/spec/workerGroupSpecs/0/replicas": 4}
    group["replicas"] = 4  # its queue has admitted all of them together
    ask_for_all_workers()
    assert "asked" not in rayjob


def test_a_driver_has_the_pods_of_a_bad_node_replaced(rayjob):
    group = {"replicas": 2, "minReplicas": 2, "maxReplicas": 2, "template": {"spec": {"containers": []}}}
    rayjob["spec"]["rayClusterSpec"] = {"workerGroupSpecs": [group]}
    rayjob["status"]["rayClusterName"] = "digits-abcde"
    assert pods_replacer()({"gpu-7"}, {"digits-abcde-workers-worker-1"})
    place = "digits-abcde/spec/workerGroupSpecs/0"
    assert rayjob["asked"] == {
        f"{place}/template/spec/affinity": without_nodes({}, ["gpu-7"]),
        f"{place}/scaleStrategy": {"workersToDelete": ["digits-abcde-workers-worker-1"]},
    }


def test_nodes_are_left_out_of_every_term_of_an_affinity():
    zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    own = {"podAffinity": {"x": 1}, "nodeAffinity": {"preferred": [1], required: {"nodeSelectorTerms": [zone, {}]}}}
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in ("gpu-1", "gpu-7")]
    changed = without_nodes(own, ["gpu-7", "gpu-1"])
    assert changed["podAffinity"] == {"x": 1}
    assert changed["nodeAffinity"]["preferred"] == [1]
    assert changed["nodeAffinity"][required]["nodeSelectorTerms"] == [
        {**zone, "matchFields": fields},
        {"matchFields": fields},
    ]
