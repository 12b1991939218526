"""The process and device a network is trained on: threads, allocator, precision."""

import ctypes
import os
import sys
from contextlib import AbstractContextManager, nullcontext

import torch

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD = -3, -1, -2
"""Numbers of glibc's mallopt options (malloc.h)."""


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next step instead of giving it back to the kernel page by page.

    A small convolutional net otherwise spends a fifth to a half of each CPU step in page faults. Call it before the
    first large tensor. Without effect, and False, where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    options = {M_MMAP_THRESHOLD: 1 << 30, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 << 20}
    return all(mallopt(option, value) == 1 for option, value in options.items())


def prepare_process(threads: int) -> None:
    """Set what must be set before the first tensor: allocator and threads."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")


def set_threads(threads: int | None) -> None:
    """Compute with so many threads from here on; None keeps their number."""
    if threads:
        torch.set_num_threads(threads)


def machine_cpus() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(gpus: int) -> torch.device:
    """Return the first GPU where one was asked for, the CPU otherwise."""
    return torch.device("cuda", 0) if gpus else torch.device("cpu")


def supports_bf16(device: torch.device) -> bool:
    """Tell whether the device computes in bfloat16 in hardware; elsewhere it is only slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private: a torch without them has no answer
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Enter the precision of the network's forward pass; weights, losses and optimizer stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
