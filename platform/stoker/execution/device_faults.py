"""Errors by which a device says that it is broken, or not there."""

import os
import re

BROKEN, MISSING = "broken", "missing"
"""Faults of a device: no program causes the first; the second may be passing, or a program's own mistake."""
BROKEN_TEXT = re.compile(r"uncorrectable (ECC|NVLink) error|hipErrorECCNotCorrectable", re.IGNORECASE)
MISSING_TEXT = re.compile(
    r"No CUDA GPUs are available|CUDA-capable device\(s\) is/are busy or unavailable|no CUDA-capable device"
    r"|CUDA unknown error|CUDA driver initialization failed|system not yet initialized"
)


def device_fault(error: str) -> str:
    """Return the fault of this process's device that an error tells of: BROKEN, MISSING, or empty.

    A process that has been given no GPU misses none.
    """
    if BROKEN_TEXT.search(error):
        return BROKEN
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "") not in ("", "-1")
    return MISSING if given and MISSING_TEXT.search(error) else ""
