"""A job as objects of Kubernetes."""

import json

import pytest

from stoker.clusters.kubernetes.config_maps import config_map_manifests
from stoker.clusters.kubernetes.metadata import owned_by
from stoker.clusters.kubernetes.pods import merged
from stoker.clusters.kubernetes.profile import Accelerator, DataClaim, Profile
from stoker.clusters.kubernetes.rayjob import pods_deadline_s, rayjob_manifest
from stoker.clusters.restart import FIRST_START, Restart
from stoker.errors import JobError
from stoker.job.own_code import CodeJob
from stoker.jobfile.loading import parse_job
from stoker.tracking.run import RunHeader

PROFILE = Profile(image="stoker:1", tracking_uri="http://mlflow:5000", storage="s3://runs/stoker")
JOB = "name: digits\ntask: image-classification\ndataset: digits\n"
HEADER = RunHeader("digits-0a1b2c3d", "digits", "image-classification", "cnn", "digits", 1.0, 1, "", "digits")


def rendered(more="", profile=PROFILE, code=(), restart=FIRST_START):
    job = parse_job(JOB + more, "digits.yaml").job
    return rayjob_manifest(job, HEADER, "team", profile, dict(code), restart)


def pods(manifest):
    cluster = manifest["spec"]["rayClusterSpec"]
    worker = cluster["workerGroupSpecs"][0]["template"]
    return [manifest["spec"]["submitterPodTemplate"], cluster["headGroupSpec"]["template"], worker]


def container(pod):
    (only,) = pod["spec"]["containers"]
    return only


def variables(pod):
    return {each["name"]: each.get("value") for each in container(pod)["env"]}


def as_files(head, inputs):
    """Lay ConfigMaps out as the head's volume says."""
    (volume,) = [each for each in head["spec"]["volumes"] if each["name"] == "inputs"]
    data = {each["metadata"]["name"]: each["data"] for each in inputs}
    sources = [source["configMap"] for source in volume["projected"]["sources"]]
    return {item["path"]: data[source["name"]][item["key"]] for source in sources for item in source["items"]}


def test_it_is_named_labelled_and_described_as_the_run():
    metadata = rendered("resources: {queue: team-a, priority: high}\n")["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("digits-0a1b2c3d", "team")
    assert metadata["labels"]["stoker.dev/run"] == "digits-0a1b2c3d"
    assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert metadata["labels"]["kueue.x-k8s.io/priority-class"] == "high"
    assert json.loads(metadata["annotations"]["stoker.dev/header"])["task"] == "image-classification"


def test_every_pod_passes_the_restricted_level():
    for pod in pods(rendered()):
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        security = container(pod)["securityContext"]
        assert security == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def test_only_the_head_has_a_token_and_nothing_is_computed_there():
    manifest = rendered()
    submitter, head, worker = pods(manifest)
    assert not any(pod["spec"]["automountServiceAccountToken"] for pod in (submitter, head, worker))
    with_token = [any(volume["name"] == "token" for volume in p["spec"]["volumes"]) for p in (submitter, head, worker)]
    assert with_token == [False, True, False]
    assert {pod["spec"]["serviceAccountName"] for pod in (submitter, head, worker)} == {"stoker-job"}
    assert manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert manifest["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_workers_get_the_resources_that_the_job_requests():
    manifest = rendered(
        "resources: {workers: 3, cpus: 4, memory: 16GiB, gpus: 1, accelerator: H200, retries: 5, timeout: 1 h}\n"
    )
    group = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (3, 3, 3)
    assert group["rayStartParams"] == {"num-cpus": "1"}  # a pod holds one worker, whatever its threads
    amount = {"cpu": "4", "memory": str(16 * 2**30), "nvidia.com/gpu": 1}
    assert container(group["template"])["resources"] == {"requests": amount, "limits": amount}
    assert group["template"]["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "H200"}
    assert group["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert manifest["spec"]["backoffLimit"] == 9  # rounds of waiting; the driver sets it to the run's own retries
    assert manifest["spec"]["activeDeadlineSeconds"] > 3600


@pytest.mark.parametrize(("entrypoint", "gib"), [("finetune:train", 4), ("train.py", 3)])
def test_the_head_of_a_function_has_room_for_ray_trains_own_processes(entrypoint, gib):
    job = CodeJob.model_validate({"name": "own", "entrypoint": entrypoint})
    _, head, worker = pods(rayjob_manifest(job, HEADER, "team", PROFILE, {}, FIRST_START))
    assert container(head)["resources"]["limits"]["memory"] == str(gib * 2**30)
    assert container(worker)["resources"]["limits"]["memory"] == str(4 * 2**30)


def test_each_trial_of_a_function_has_room_on_the_head():
    metric = {"name": "loss", "direction": "min"}
    space = {"metric": metric, "trials": 8, "parallel": 4, "space": {"settings.lr": [0.1, 0.2]}}
    job = CodeJob.model_validate({"name": "own", "entrypoint": "finetune:train", "sweep": space})
    manifest = rayjob_manifest(job, HEADER, "team", PROFILE, {}, FIRST_START)
    _, head, _ = pods(manifest)
    assert container(head)["resources"]["limits"]["memory"] == str((3 + 4) * 2**30 + 4 * 2**28)
    assert manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 4


NODES = {
    "H200": Accelerator(
        workers_per_node=8,
        resources={"rdma/hca": 8},
        tolerations=[{"key": "spot", "operator": "Exists"}],
        annotations={"networks": "rdma"},
        environment={"NCCL_IB_HCA": "mlx5", "NCCL_DEBUG": "INFO"},
        host_network=True,
    )
}


def test_whole_nodes_have_a_pod_each():
    manifest = rendered("resources: {workers: 16, gpus: 1, workers_per_node: 8, cpus: 4, memory: 16GiB}\n")
    group = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert (group["replicas"], group["rayStartParams"]) == (2, {"num-cpus": "8"})
    limits = container(group["template"])["resources"]["limits"]
    assert limits == {"cpu": "32", "memory": str(128 * 2**30), "nvidia.com/gpu": 8}
    mounts = {each["mountPath"]: each["name"] for each in container(group["template"])["volumeMounts"]}
    volumes = {each["name"]: each for each in group["template"]["spec"]["volumes"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": str(64 * 2**30)}


@pytest.mark.parametrize(
    ("more", "replicas"), [("", 2), (", queue: team-a", 4)], ids=["without a queue", "a queue admits all pods together"]
)
def test_an_elastic_run_starts_with_the_least_pods_and_may_have_more(more, replicas):
    group = worker_group(f"resources: {{workers: {{min: 4, max: 8}}, workers_per_node: 2{more}}}\n", PROFILE)
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (replicas, 2, 4)


def test_the_pods_of_an_elastic_run_are_filled_by_the_least_workers_too():
    profile = PROFILE.model_copy(update={"accelerators": NODES})
    group = worker_group("resources: {workers: {min: 4, max: 16}, gpus: 1, accelerator: H200}\n", profile)
    assert (group["minReplicas"], group["maxReplicas"], group["rayStartParams"]) == (1, 4, {"num-cpus": "4"})


def test_what_a_kind_of_node_needs_is_said_once_by_the_administrator():
    profile = PROFILE.model_copy(update={"accelerators": NODES, "shared_memory": "4GiB"})
    asked = "resources: {workers: 12, gpus: 1, accelerator: H200}\nenvironment: {env: {NCCL_DEBUG: WARN}}\n"
    group = worker_group(asked, profile)
    worker = group["template"]
    assert (group["replicas"], group["rayStartParams"]) == (2, {"num-cpus": "6"})  # twelve workers: no pods of eight
    limits = container(worker)["resources"]["limits"]
    assert (limits["nvidia.com/gpu"], limits["rdma/hca"]) == (6, 6)  # six of the node's eight
    assert container(worker)["resources"]["requests"] == limits
    assert worker["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "H200"}
    assert [each["key"] for each in worker["spec"]["tolerations"]] == ["nvidia.com/gpu", "spot"]
    assert (worker["spec"]["hostNetwork"], worker["spec"]["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert worker["metadata"]["annotations"]["networks"] == "rdma"
    assert (variables(worker)["NCCL_IB_HCA"], variables(worker)["NCCL_DEBUG"]) == ("mlx5", "WARN")
    volumes = {each["name"]: each for each in worker["spec"]["volumes"]}
    assert volumes["shared-memory"]["emptyDir"]["sizeLimit"] == str(4 * 2**30)
    _, head, _ = pods(rendered(asked, profile))
    assert "hostNetwork" not in head["spec"]
    assert "NCCL_IB_HCA" not in variables(head)


def test_a_worker_pod_that_is_taken_away_waits_for_a_checkpoint():
    _, head, worker = pods(rendered())
    command = container(worker)["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["python", "-m", "stoker.execution.leaving", "45"]
    assert worker["spec"]["terminationGracePeriodSeconds"] > 45
    assert variables(worker)["STOKER_LEAVING"] == "/home/stoker/leaving"
    assert "lifecycle" not in container(head)


def test_a_worker_knows_its_pod_and_its_node():
    _, _, worker = pods(rendered())
    fields = {
        each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"]
        for each in container(worker)["env"]
        if "valueFrom" in each
    }
    assert fields == {"STOKER_NODE": "spec.nodeName", "STOKER_POD": "metadata.name"}


def test_workers_with_several_gpus_fill_a_node_sooner():
    profile = PROFILE.model_copy(update={"accelerators": NODES})
    resources = {"workers": 4, "gpus": 4, "accelerator": "H200"}
    job = CodeJob.model_validate({"name": "own", "entrypoint": "train.py", "resources": resources})
    manifest = rayjob_manifest(job, HEADER, "team", profile, {}, FIRST_START)
    _, _, worker = pods(manifest)
    limits = container(worker)["resources"]["limits"]
    assert (limits["nvidia.com/gpu"], limits["rdma/hca"]) == (8, 8)
    assert manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 2


def test_another_resource_than_nvidias_has_another_taint():
    profile = PROFILE.model_copy(update={"accelerators": {"MI300": Accelerator(gpu="amd.com/gpu")}})
    worker = worker_group("resources: {workers: 2, accelerator: MI300}\n", profile)["template"]
    assert container(worker)["resources"]["limits"]["amd.com/gpu"] == 1
    assert worker["spec"]["tolerations"] == [{"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_a_worker_of_own_code_may_have_several_gpus():
    resources = {"workers": 4, "gpus": 4, "workers_per_node": 2}
    job = CodeJob.model_validate({"name": "own", "entrypoint": "train.py", "resources": resources})
    manifest = rayjob_manifest(job, HEADER, "team", PROFILE, {}, FIRST_START)
    _, _, worker = pods(manifest)
    assert container(worker)["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 2


SWEEP = "sweep: {trials: 6, space: {training.optimizer.lr: {min: 0.001, max: 0.1}}%s}\n"


def worker_group(*arguments):
    return rendered(*arguments)["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]


def test_each_worker_of_each_trial_gets_a_pod():
    group = worker_group("resources: {workers: 2}\n" + SWEEP % ", parallel: 3")
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (6, 6, 6)
    assert group["rayStartParams"] == {"num-cpus": "1"}
    assert container(group["template"])["resources"]["limits"]["cpu"] == "2"
    group = worker_group("resources: {cpus: 4}\n" + SWEEP % ", parallel: 3")
    assert (group["replicas"], group["rayStartParams"]) == (3, {"num-cpus": "4"})


def test_trials_that_share_a_gpu_share_a_pod():
    group = worker_group("resources: {gpus: 0.25, cpus: 2, memory: 3GiB}\n" + SWEEP % ", parallel: 6")
    assert (group["replicas"], group["rayStartParams"]) == (2, {"num-cpus": "8"})
    limits = container(group["template"])["resources"]["limits"]
    assert limits == {"cpu": "8", "memory": str(12 * 2**30), "nvidia.com/gpu": 1}
    group = worker_group("resources: {gpus: 0.25}\n" + SWEEP % ", parallel: 2")
    assert (group["replicas"], group["rayStartParams"]) == (1, {"num-cpus": "2"})


def test_parallel_trials_default_to_the_administrators_profile():
    assert worker_group(SWEEP % "")["replicas"] == 1
    assert worker_group(SWEEP % "", PROFILE.model_copy(update={"parallel_trials": 4}))["replicas"] == 4
    assert worker_group(SWEEP % ", parallel: 50")["replicas"] == 6


def test_queue_node_selector_and_resources_default_to_the_administrators_profile():
    profile = PROFILE.model_copy(
        update={"queue": "default", "accelerators": {"H200": Accelerator(node_selector={"gpu": "h200"})}}
    )
    manifest = rendered("resources: {accelerator: H200}\n", profile)
    worker = pods(manifest)[2]
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "default"
    assert worker["spec"]["nodeSelector"] == {"gpu": "h200"}
    assert container(worker)["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container(worker)["resources"]["limits"]["cpu"] == "2"


def test_environment_and_places_reach_head_and_workers():
    secret = PROFILE.model_copy(update={"environment_secrets": ["s3"]})
    manifest = rendered(
        "environment: {env: {DATA: /data, PYTHONPATH: /mine}, packages: [einops], image: 'mine:2'}\n", secret
    )
    for pod in pods(manifest)[1:]:
        assert variables(pod)["DATA"] == "/data"
        assert variables(pod)["STOKER_STORAGE"] == "s3://runs/stoker"
        assert variables(pod)["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
        mounts = {each["name"]: each["mountPath"] for each in container(pod)["volumeMounts"]}
        assert variables(pod)["STOKER_SECRETS"] == mounts["secrets"]
        assert {"name": "secrets", "projected": {"sources": [{"secret": {"name": "s3"}}]}} in pod["spec"]["volumes"]
        assert container(pod)["image"] == "mine:2"
    _, *working = pods(manifest)
    for pod in working:
        (installing,) = pod["spec"]["initContainers"]
        assert installing["command"][2:] == ["stoker.execution.packages", "/home/stoker/packages", "einops"]
        assert installing["image"] == "mine:2"
        assert variables(pod)["PYTHONPATH"] == "/home/stoker/packages/site:/home/stoker/packages/site-platform:/mine"


def test_a_job_cannot_override_reserved_environment_variables():
    names = "{STOKER_RAYJOB: other, STOKER_NAMESPACE: other, STOKER_REOPEN: again, HOME: /root}"
    submitter, head, worker = pods(rendered(f"environment: {{env: {names}}}\n"))
    assert variables(head)["STOKER_RAYJOB"] == HEADER.id
    for pod in (submitter, head, worker):
        said = [each["name"] for each in container(pod)["env"]]
        assert len(said) == len(set(said))
        assert "STOKER_REOPEN" not in said
        assert variables(pod)["HOME"] == "/home/stoker"


def test_labels_annotations_and_environment_of_the_profile_reach_every_pod():
    more = {"pod_labels": {"team": "ml"}, "pod_annotations": {"scrape": "no"}}
    more["environment"] = {
        "HTTPS_PROXY": "http://proxy:3128",
        "DATA": "/data",
        "HOME": "/root",
        "STOKER_RAYJOB": "other",
    }
    submitter, head, worker = pods(rendered("environment: {env: {DATA: /mine}}\n", PROFILE.model_copy(update=more)))
    for pod in (submitter, head, worker):
        assert pod["metadata"]["labels"]["team"] == "ml"
        assert pod["metadata"]["annotations"] == {"scrape": "no"}
        assert variables(pod)["HTTPS_PROXY"] == "http://proxy:3128"
        assert (variables(pod)["DATA"], variables(pod)["HOME"]) == ("/mine", "/home/stoker")
    assert variables(head)["STOKER_RAYJOB"] == HEADER.id


def test_a_timeout_of_ages_is_one_that_kuberay_can_count():
    assert rendered("resources: {timeout: 100000 d}\n")["spec"]["activeDeadlineSeconds"] == 2**31 - 1


def test_a_volume_takes_the_place_of_a_bucket():
    profile = PROFILE.model_copy(update={"storage": "", "storage_claim": "runs"})
    for pod in pods(rendered(profile=profile))[1:]:
        assert {"name": "storage", "persistentVolumeClaim": {"claimName": "runs"}} in pod["spec"]["volumes"]
        mounts = {each["name"]: each["mountPath"] for each in container(pod)["volumeMounts"]}
        assert variables(pod)["STOKER_STORAGE"] == mounts["storage"]


def test_the_users_code_lies_beside_the_job_where_the_driver_looks():
    code = {"net.py": b"import torch\n", "parts/head.py": "# \u00fc\n".encode()}
    head = pods(rendered(code=code.items()))[1]
    laid_out = as_files(head, config_map_manifests(parse_job(JOB, "x.yaml").job, HEADER, "team", code))
    assert laid_out["code/net.py"] == "import torch\n"
    assert laid_out["code/parts/head.py"] == "# \u00fc\n"
    assert json.loads(laid_out["run.json"])["id"] == HEADER.id
    assert "image-classification" in laid_out["job.yaml"]


def test_a_resume_comes_with_a_word():
    assert "STOKER_REOPEN" not in variables(pods(rendered())[1])
    told = variables(pods(rendered(restart=Restart("beef")))[1])
    assert (told["STOKER_REOPEN"], told.get("STOKER_MORE_TRIALS")) == ("beef", None)
    told = variables(pods(rendered(restart=Restart("beef", 20)))[1])
    assert (told["STOKER_REOPEN"], told["STOKER_MORE_TRIALS"]) == ("beef", "20")


def test_what_does_not_fit_or_is_not_allowed_is_refused():
    with pytest.raises(JobError, match="this cluster only runs stoker:1"):
        rendered("environment: {image: mine}\n", PROFILE.model_copy(update={"own_images": False}))
    with pytest.raises(JobError, match=r"a.py has 1\.0 MB; the limit is 0\.9 MB a file"):
        rendered(code=[("a.py", b"#" * 1_000_000)])
    with pytest.raises(JobError, match=r"holds 7\.2 MB of code; the limit is 7\.2 MB"):
        rendered(code=[(f"{number}.py", b"#" * 800_000) for number in range(9)])


def test_much_code_is_spread_over_several_objects():
    code = {f"{number}.py": b"#" * 500_000 for number in range(4)}
    inputs = config_map_manifests(parse_job(JOB, "x.yaml").job, HEADER, "team", code)
    assert [each["metadata"]["name"] for each in inputs] == [HEADER.id, *(f"{HEADER.id}-{n}" for n in (1, 2, 3))]
    laid_out = as_files(pods(rendered(code=code.items()))[1], inputs)
    assert set(laid_out) == {"job.yaml", "run.json", *(f"code/{name}" for name in code)}


def test_the_administrators_word_on_pods_is_laid_over_ours():
    tolerations = [{"key": "team", "operator": "Exists"}]
    profile = PROFILE.model_copy(update={"pod": {"tolerations": tolerations, "securityContext": {"runAsUser": 7}}})
    for pod in pods(rendered(profile=profile)):
        assert pod["spec"]["tolerations"] == tolerations
        assert pod["spec"]["securityContext"]["runAsUser"] == 7
        assert pod["spec"]["securityContext"]["runAsNonRoot"]


def test_the_administrators_volumes_are_added_to_ours():
    mount = {"name": "datasets", "mountPath": "/datasets"}
    pod = {
        "volumes": [{"name": "datasets", "persistentVolumeClaim": {"claimName": "data"}}],
        "containers": [{"name": "ray-worker", "volumeMounts": [mount]}, {"name": "proxy", "image": "proxy:1"}],
    }
    submitter, head, worker = pods(rendered(profile=PROFILE.model_copy(update={"pod": pod})))
    for each in (submitter, head, worker):
        names = [volume["name"] for volume in each["spec"]["volumes"]]
        assert {"tmp", "datasets"} <= set(names)
        assert len(names) == len(set(names))
        assert [each["name"] for each in each["spec"]["containers"]][1:] == ["proxy"]
    assert mount in worker["spec"]["containers"][0]["volumeMounts"]
    assert "/tmp" in [each["mountPath"] for each in worker["spec"]["containers"][0]["volumeMounts"]]
    assert mount not in head["spec"]["containers"][0]["volumeMounts"]


def test_the_data_of_the_profile_are_mounted_where_the_run_works():
    data = [DataClaim(claim="datasets"), DataClaim(claim="scratch", path="/scratch", read_only=False)]
    _, *working = pods(rendered(profile=PROFILE.model_copy(update={"data": data})))
    for pod in working:
        claims = [each["persistentVolumeClaim"] for each in pod["spec"]["volumes"] if "persistentVolumeClaim" in each]
        assert [(each["claimName"], each["readOnly"]) for each in claims] == [("datasets", True), ("scratch", False)]
        mounts = {each["mountPath"]: each for each in container(pod)["volumeMounts"]}
        assert (mounts["/data"]["readOnly"], mounts["/scratch"]["readOnly"]) == (True, False)


def test_the_submitter_needs_little_room_beside_the_pods_that_it_starts():
    submitter, *_ = pods(rendered())
    assert container(submitter)["resources"]["requests"] == {"cpu": "10m", "memory": "128Mi"}


def test_a_run_without_a_queue_gives_its_pods_back_after_a_time_of_its_own():
    spec = rendered()["spec"]
    assert 900 <= spec["preRunningDeadlineSeconds"] <= 1800
    assert spec["backoffLimit"] == 9
    times = {pods_deadline_s(f"digits-{number:08x}", 900) for number in range(50)}
    assert len(times) > 40
    assert min(times) >= 900
    assert max(times) <= 1800
    assert max(times) - min(times) > 700
    for more, profile in (
        ("resources: {queue: team-a}\n", PROFILE),  # Kueue starts all of its pods or none
        ("", PROFILE.model_copy(update={"pending_limit_s": 0})),
    ):
        spec = rendered(more, profile)["spec"]
        assert "preRunningDeadlineSeconds" not in spec
        assert spec["backoffLimit"] == 3


def test_trees_are_laid_over_key_by_key():
    assert merged({"a": {"b": 1}, "c": [1]}, {"a": {"b": 0, "d": 2}, "c": [2, 3]}) == {
        "a": {"b": 1, "d": 2},
        "c": [1],
    }


def test_an_owned_object_goes_with_its_owner():
    owner = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "r", "uid": "u"}}
    (reference,) = owned_by({"metadata": {"name": "x"}}, owner)["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["name"], reference["uid"]) == ("RayJob", "r", "u")


def test_a_job_may_set_only_the_pod_fields_that_the_administrator_allows():
    more = "environment: {pod: {nodeSelector: {zone: a}, tolerations: [{operator: Exists}]}}\n"
    profile = PROFILE.model_copy(update={"pod": {"nodeSelector": {"disk": "fast"}}})
    for pod in pods(rendered(more, profile)):
        assert pod["spec"]["nodeSelector"] == {"zone": "a", "disk": "fast"}
        assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]
    with pytest.raises(JobError, match=r"environment\.pod\.hostNetwork: this cluster does not let a job set it"):
        rendered("environment: {pod: {hostNetwork: true}}\n")
