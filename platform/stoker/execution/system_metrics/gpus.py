"""Utilization, memory and power of the GPUs that this process sees, as NVIDIA's driver reports them."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

Nvml = Any
"""The module `pynvml`, which has no types."""


class Gpus:
    """The GPUs that this process sees, numbered as CUDA numbers them; none without NVIDIA's driver.

    Args:
        devices: CUDA_VISIBLE_DEVICES; None if it is not set.

    """

    def __init__(self, devices: str | None) -> None:
        self._devices = devices
        self._nvml: Nvml = None
        self._handles: list[Any] | None = None
        """None until they are needed: on an idle machine the driver takes seconds to start."""

    def metrics(self) -> dict[str, float]:
        """Return the metrics of all GPUs by MLflow's names."""
        if self._handles is None:
            self._nvml = _driver()
            self._handles = [] if self._nvml is None else list(visible_gpus(self._nvml, self._devices))
        found: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            found |= {f"gpu_{number}_{name}": value for name, value in gpu_metrics(self._nvml, handle).items()}
        return found


def visible_gpus(nvml: Nvml, devices: str | None) -> Iterator[Any]:
    """Yield the driver's handles of the visible GPUs.

    Args:
        nvml: initialized.
        devices: numbers, or ids of GPUs or of parts of them (MIG); the first that does not exist ends the list, as it
            does in CUDA. None: all GPUs.

    """
    if devices is None:
        devices = ",".join(str(number) for number in range(nvml.nvmlDeviceGetCount()))
    for device in map(str.strip, devices.split(",")):
        try:
            if device.isdecimal():
                yield nvml.nvmlDeviceGetHandleByIndex(int(device))
            else:
                yield nvml.nvmlDeviceGetHandleByUUID(device)
        except nvml.NVMLError:
            return


def gpu_metrics(nvml: Nvml, handle: Any) -> dict[str, float]:
    """Return the metrics of a GPU; what it does not report is left out, such as the power of a part of a GPU."""
    found: dict[str, float] = {}
    reads: tuple[Callable[[Nvml, Any], dict[str, float]], ...] = (_utilization, _memory, _power)
    for read in reads:
        with suppress(nvml.NVMLError):
            found |= read(nvml, handle)
    return found


def _utilization(nvml: Nvml, handle: Any) -> dict[str, float]:
    return {"utilization_percentage": nvml.nvmlDeviceGetUtilizationRates(handle).gpu}


def _memory(nvml: Nvml, handle: Any) -> dict[str, float]:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    percentage = 100 * memory.used / memory.total
    return {"memory_usage_megabytes": memory.used / 1e6, "memory_usage_percentage": percentage}


def _power(nvml: Nvml, handle: Any) -> dict[str, float]:
    milliwatts, limit = nvml.nvmlDeviceGetPowerUsage(handle), nvml.nvmlDeviceGetEnforcedPowerLimit(handle)
    return {"power_usage_watts": milliwatts / 1000, "power_usage_percentage": 100 * milliwatts / limit}


def _driver() -> Nvml:
    """Return `pynvml`, initialized; None without a driver."""
    try:
        import pynvml  # here, because an image of the user's own may lack it
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
