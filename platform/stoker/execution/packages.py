"""Installs a job's packages in a pod, before Ray starts there: python -m stoker.execution.packages FOLDER NAME...

What the image has counts as installed, so only the rest is downloaded. (Ray's own way copies the image's environment.)
A failure leaves its reason in the folder, where the driver or the worker of the pod finds it, and in the container's
last message, which Kubernetes shows.
"""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from stoker.execution.contract import PACKAGES_FOLDER, UNINSTALLED

SITE, PLATFORM_SITE = "site", "site-platform"
"""In the folder: what belongs on PYTHONPATH; packages with compiled parts may have a place of their own."""
ERROR = "error"
"""In the folder: the reason of a failure."""
TERMINATION_LOG = Path("/dev/termination-log")
"""Where Kubernetes reads a container's last message."""
PIP_ERROR = "ERROR: "
INDEX_UNREACHABLE = re.compile(r"after connection broken by .*?([^:'\"\]]+)['\")]+: /")
"""pip's complaint about an index that does not answer; its later claim that no such package exists is wrong then."""


def install(folder: Path, names: list[str]) -> str:
    """Install packages below a folder; return why it failed, or an empty string."""
    options = ("--no-cache-dir", "--disable-pip-version-check", "--no-warn-script-location")
    command = [sys.executable, "-m", "pip", "install", "--prefix", str(folder), *options, *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603 - the job's
    print(done.stdout, end="")  # noqa: T201 - the container's log
    if done.returncode:
        return installation_failure(done.stdout) or f"pip ended with code {done.returncode}"
    scheme, places = sysconfig.get_preferred_scheme("prefix"), {"base": str(folder), "platbase": str(folder)}
    for link, kind in ((SITE, "purelib"), (PLATFORM_SITE, "platlib")):
        (folder / link).unlink(missing_ok=True)
        (folder / link).symlink_to(sysconfig.get_path(kind, scheme, places))
    return ""


def installation_failure(output: str) -> str:
    """Return the reason in the output of pip, or in a message of Ray that contains it; empty if there is no text."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix(PIP_ERROR) for line in lines if line.startswith(PIP_ERROR)]
    if broken := INDEX_UNREACHABLE.search(output):
        why = broken[1].strip()
        return f"its nodes cannot reach the Python package index ({why}); name an image that has the packages"
    return (errors or lines or [""])[-1]


def failure_here() -> str:
    """Return why the packages of this pod could not be installed; empty if they could, or if there are none."""
    folder = os.environ.get(PACKAGES_FOLDER)
    error = Path(folder) / ERROR if folder else None
    return f"{UNINSTALLED}: {error.read_text(encoding='utf-8')}" if error and error.exists() else ""


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    (place / ERROR).unlink(missing_ok=True)  # Kubernetes may run this again in the same pod
    if failure := install(place, sys.argv[2:]):
        (place / ERROR).write_text(failure, encoding="utf-8")
        if TERMINATION_LOG.exists():
            TERMINATION_LOG.write_text(failure, encoding="utf-8")
