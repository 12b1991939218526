"""What can be asked of a run on the cluster."""

import concurrent.futures
import shutil

import pytest

from stoker.clusters.kubernetes.retention import delete_ended_runs


@pytest.mark.slow
def test_a_run_that_rests_goes_on_in_the_same_record(home, mlflow, steps_of, long_job, until):
    run = home.submit(long_job)
    until(lambda: home.going(run)["checkpoint_step"] > 100, "a checkpoint")
    home.stoker("pause", run, "--wait")
    rested = home.status(run)
    assert rested["state"] == "PAUSED"
    assert mlflow("runs/get", run_id=rested["mlflow_run"])["run"]["info"]["status"] == "SCHEDULED"
    home.stoker("resume", run, "--detach")
    until(lambda: home.going(run)["checkpoint_step"] > rested["checkpoint_step"], "a new checkpoint")
    home.stoker("cancel", run, "--wait")
    ended = home.status(run)
    assert (ended["state"], ended["attempt"], ended["mlflow_run"]) == ("CANCELLED", 2, rested["mlflow_run"])
    assert ended["checkpoint_step"] > rested["checkpoint_step"]
    steps = steps_of(ended["mlflow_run"], "loss/val")
    assert len(steps) == len(set(steps))


@pytest.mark.slow
def test_the_client_may_vanish_and_the_run_outlives_its_rayjob_in_the_record(home, objects, jobs, namespace, until):
    run = home.submit(jobs / "vision" / "digits-mlp.yaml", "--set", "training.epochs=2")
    forgotten = home.folder(run).status()

    def rayjob():
        return objects.get_namespaced_custom_object("ray.io", "v1", namespace, "rayjobs", run)

    until(lambda: rayjob().get("status", {}).get("jobDeploymentStatus") == "Complete", "end of the RayJob")
    objects.delete_namespaced_custom_object("ray.io", "v1", namespace, "rayjobs", run)
    home.folder(run).write_status(forgotten)
    shown = home.status(run)
    assert (shown["state"], shown["attempt"]) == ("SUCCEEDED", 1)
    assert shown["metrics"]["accuracy/test"] > 0.5
    home.folder(run).log.unlink(missing_ok=True)
    home.stoker("logs", run)
    assert home.folder(run).log.exists()
    assert run in home.stoker("ls")
    assert "accuracy" in home.stoker("evaluate", run)


@pytest.mark.slow
def test_a_killed_run_is_deleted_and_marked_killed_in_mlflow(home, mlflow, kube, long_job, until):
    run = home.submit(long_job)
    until(lambda: home.going(run)["mlflow_run"], "a page")
    assert "CANCELLED" in home.stoker("kill", run)
    page = mlflow("runs/get", run_id=home.folder(run).status().mlflow_run)["run"]
    assert page["info"]["status"] == "KILLED"
    until(lambda: not kube.pods(f"stoker.dev/run={run}"), "end of its pods", 60)
    home.stoker("kill", run, code=3)


def test_many_submits_with_one_key_from_two_homes_make_one_run(home, another_home, objects, long_job, namespace):
    def submit(number):
        place = (home, another_home)[number % 2]
        return place.submit(long_job, "--key", "nightly")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = set(pool.map(submit, range(8)))
    (run,) = runs
    found = objects.list_namespaced_custom_object("ray.io", "v1", namespace, "rayjobs")["items"]
    assert [each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith("long-")] == [run]
    message = another_home.stoker(
        "submit", str(long_job), "--key", "nightly", "--set", "training.epochs=3", "--detach", code=2
    )
    assert "another job" in message
    shutil.rmtree(another_home.path)
    message = another_home.stoker(
        "submit", str(long_job), "--key", "nightly", "--set", "training.epochs=3", "--detach", code=2
    )
    assert f"the key 'nightly' belongs to {run}, which has another job" in message


@pytest.mark.slow
def test_somebody_elses_run_is_found_shown_and_ended(home, another_home, long_job):
    run = home.submit(long_job)
    assert run in another_home.stoker("ls", "--everyone")
    assert another_home.status(run)["id"] == run
    assert "CreatedHeadPod" in another_home.stoker("events", run)
    another_home.stoker("kill", run)
    assert home.status(run)["state"] in ("INTERRUPTED", "CANCELLED")


@pytest.mark.slow
def test_a_run_whose_objects_were_deleted_is_found_by_another_home(home, another_home, kube, jobs, until):
    run = home.submit(jobs / "vision" / "digits-mlp.yaml", "--set", "training.epochs=2")
    assert home.json("wait", run)["state"] == "SUCCEEDED"
    assert delete_ended_runs(kube, days=1) == []
    until(lambda: run in delete_ended_runs(kube, days=0), "deletion", 30)
    until(lambda: kube.rayjob(run) is None and kube.config_map(run) is None, "end of its objects", 60)
    shown = another_home.status(run)
    assert (shown["state"], shown["id"]) == ("SUCCEEDED", run)
    assert shown["metrics"] == home.status(run)["metrics"]
    assert "accuracy" in another_home.stoker("evaluate", run)
