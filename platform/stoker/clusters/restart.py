"""What the driver needs to know when a run that has ended is started again."""

from dataclasses import dataclass

from stoker.execution.contract import MORE_TRIALS, REOPEN


@dataclass(frozen=True)
class Restart:
    """One `resume` or `extend`; the default is the first start of a run."""

    id: str = ""
    """Unique: a driver that is started a second time by the same restart does not begin the run again."""
    more_trials: int = 0
    """Trials of a sweep beyond those of its job, in total."""

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of the driver."""
        more = {MORE_TRIALS: str(self.more_trials)} if self.more_trials else {}
        return {REOPEN: self.id, **more} if self.id else {}


FIRST_START = Restart()
