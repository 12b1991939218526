"""CPU time and memory of a tree of real processes."""

import subprocess
import sys

import psutil
import pytest

from stoker.execution.system_metrics.usage import ProcessUsage

USES = """
import sys, time
block = bytearray(b"x") * 200_000_000
while time.process_time() < 0.5:
    pass
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def this():
    return ProcessUsage(cpus=2, memory_bytes=psutil.virtual_memory().total)


def test_descendants_count_while_they_live_and_their_cpu_time_afterwards(this):
    cpu_s, used = this.cpu_s(), this.used_bytes()
    child = subprocess.Popen([sys.executable, "-c", USES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "there\n"
    assert this.used_bytes() - used > 200_000_000
    living = this.cpu_s() - cpu_s
    child.communicate("")
    assert living >= 0.4
    assert this.cpu_s() - cpu_s >= living
    assert this.used_bytes() - used < 100_000_000
