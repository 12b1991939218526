"""GPUs by NVIDIA's driver; without a GPU, a small driver stands in for it."""

from types import SimpleNamespace

from stoker.execution.system_metrics.gpus import Gpus, gpu_metrics, visible_gpus


class Refusal(Exception):
    """An error of the driver."""


class Driver:
    """`pynvml` of a machine with GPUs, of which the last is a part of one and reports its memory alone."""

    NVMLError = Refusal
    ids = ("GPU-a", "GPU-b", "MIG-c")

    def nvmlDeviceGetCount(self):  # noqa: N802 - names of NVIDIA
        return len(self.ids)

    def nvmlDeviceGetHandleByIndex(self, number):  # noqa: N802
        if number >= len(self.ids):
            raise Refusal
        return self.ids[number]

    def nvmlDeviceGetHandleByUUID(self, name):  # noqa: N802
        if name not in self.ids:
            raise Refusal
        return name

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        return SimpleNamespace(used=10_000_000_000, total=40_000_000_000)

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        return SimpleNamespace(gpu=87, memory=5) if handle.startswith("GPU") else self._refuse()

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        return 350_000 if handle.startswith("GPU") else self._refuse()

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):  # noqa: N802
        return 700_000

    def _refuse(self):
        raise Refusal


def test_a_machine_without_a_driver_has_no_figures_and_no_warning(recwarn, capfd):
    assert Gpus(None).metrics() == {}
    assert Gpus("0,1").metrics() == {}
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_the_gpus_are_those_that_cuda_shows():
    def seen(devices):
        return list(visible_gpus(Driver(), devices))

    assert seen(None) == ["GPU-a", "GPU-b", "MIG-c"]
    assert seen("1, 0") == ["GPU-b", "GPU-a"]
    assert seen("GPU-b,MIG-c") == ["GPU-b", "MIG-c"]
    assert seen("0,7,1") == ["GPU-a"]
    assert seen("") == seen("-1") == []


def test_a_gpu_has_the_figures_that_it_reports():
    memory = {"memory_usage_megabytes": 10_000, "memory_usage_percentage": 25}
    power = {"power_usage_watts": 350, "power_usage_percentage": 50}
    assert gpu_metrics(Driver(), "GPU-a") == {"utilization_percentage": 87, **memory, **power}
    assert gpu_metrics(Driver(), "MIG-c") == memory
