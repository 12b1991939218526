import sys

import pytest
import torch

from stoker.job.concurrency import machine_cpus
from stoker.training.parallel import arithmetic, choose_device, keep_freed_memory, supports_bf16

CPU = torch.device("cpu")


def test_bf16_only_applies_to_the_network():
    layer, rows = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with arithmetic(CPU, "bf16"):
        assert layer(rows).dtype == torch.bfloat16
    with arithmetic(CPU, "fp32"):
        assert layer(rows).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_device_and_bf16_support_are_detected():
    assert machine_cpus() >= 1
    assert supports_bf16(CPU) in {True, False}
    assert choose_device(0) == CPU


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has mallopt")
def test_freed_memory_is_kept():
    assert keep_freed_memory() in {True, False}
