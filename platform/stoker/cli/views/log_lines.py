"""Recognition of the lines of a run's log that are Ray's own: about its processes and nodes, not about the run."""

import re

RAYS = ("raylet", "gcs_server", "autoscaler", "TrainController", "PlacementGroupCleaner", "AutoscalingCoordinator")
ABOUT_NODE = re.compile(rf"\(({'|'.join(RAYS)})[^)]*\) ")
"""Start of a message of Ray's own processes; its further lines are indented."""
INTERNAL = re.compile(r"\s*\[state-dump\]|\s*\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] \d+ \d+\] ")
"""A line of the internal log of a Ray process."""


class RayLines:
    """Recognizes Ray's own lines among those of the run."""

    def __init__(self) -> None:
        self._within = False

    def is_rays(self, line: str) -> bool:
        """Return whether the next line of the log is Ray's own."""
        more = self._within and (not line.strip() or line[0].isspace())
        self._within = more or bool(ABOUT_NODE.match(line) or INTERNAL.match(line))
        return self._within
