"""Which lines of a run's log are Ray's own: about its processes and nodes, not about the run."""

import re

ABOUT_NODE = re.compile(r"\((raylet|gcs_server|autoscaler)[^)]*\) ")
"""Start of a message of Ray; its further lines are indented."""
INTERNAL = re.compile(r"\s*\[state-dump\]|\s*\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\] ")
"""A line of the internal log of a Ray process."""


class RayLines:
    """Tells Ray's own lines from those of the run, line by line."""

    def __init__(self) -> None:
        self._within = False

    def is_rays(self, line: str) -> bool:
        """Return whether the next line of the log is Ray's own."""
        more = self._within and (not line.strip() or line[0].isspace())
        self._within = more or bool(ABOUT_NODE.match(line) or INTERNAL.match(line))
        return self._within
