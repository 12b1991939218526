"""What a run is told that goes on after its end."""

from dataclasses import dataclass

from stoker.execution.contract import MORE_TRIALS, REOPEN


@dataclass(frozen=True)
class Again:
    """The word of a `resume` or an `extend`; without one, a run begins."""

    word: str = ""
    """A new one each time: a driver that has heard it already does not begin again."""
    more_trials: int = 0
    """How many trials a sweep has on top of its job's."""

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that tell the driver."""
        more = {MORE_TRIALS: str(self.more_trials)} if self.more_trials else {}
        return {REOPEN: self.word, **more} if self.word else {}


FIRST = Again()
"""For a run that begins."""
