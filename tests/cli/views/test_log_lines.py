from stoker.cli.views.log_lines import RayLines

LOG = """(worker 0 pid=114) epoch 1/9  step 23
(raylet) Raylet is terminated. Termination is unexpected.
    [state-dump] 	NodeManager.deadline_timer.record_metrics - 1 total (1 active)
    [2026-11-29 18:05:33,573 I 21 21] (raylet) accessor.cc:475: Received address

attempt 1 failed after step 606: INFRASTRUCTURE: the process of worker 1 died
(raylet, ip=10.0.0.1) The node has been marked dead
	(2) raylet has lagging heartbeats due to slow network or busy workload.
Traceback (most recent call last):
  File "net.py", line 1
[2026-11-29 18:05:33,573 W 9 9] (core_worker) lost
attempt 2 starts at step 600"""


def test_what_ray_says_of_its_own_processes_is_told_from_what_the_run_says():
    ray = RayLines()
    assert [line for line in LOG.splitlines() if not ray.is_rays(line)] == [
        "(worker 0 pid=114) epoch 1/9  step 23",
        "attempt 1 failed after step 606: INFRASTRUCTURE: the process of worker 1 died",
        "Traceback (most recent call last):",
        '  File "net.py", line 1',
        "attempt 2 starts at step 600",
    ]
