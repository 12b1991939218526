"""Paired benchmarks: arms run alternately, and the result is the median of their ratios, with the machine's other load.

On a shared machine absolute times are not reliable, but the ratio of two laps that ran one after the other is.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, SupportsFloat

Clock = Literal["cpu_s", "wall_s"]
SHOWN_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Lap:
    """One measurement of an arm."""

    wall_s: float
    cpu_s: float
    """CPU time of all threads, and of child processes that ended during the lap."""
    values: list[float] = field(default_factory=list)
    """Results such as losses or counts, to check that all arms do the same work."""


Arm = Callable[[], Lap]
Laps = dict[str, list[Lap]]


def timed(work: Callable[[], object]) -> Lap:
    """Return the lap of a function in this process."""
    wall, cpu = time.perf_counter(), _cpu_s()
    work()
    return Lap(time.perf_counter() - wall, _cpu_s() - cpu)


def alternate(arms: Mapping[str, Arm], rounds: int) -> Laps:
    """Run every arm once per round, in reverse order every other round; the first round is a warm-up and is dropped."""
    laps: Laps = {name: [] for name in arms}
    for number in range(rounds):
        for name in reversed(list(arms)) if number % 2 else arms:
            laps[name].append(arms[name]())
    return {name: done[1:] for name, done in laps.items()}


class Training:
    """An arm that trains: each lap runs the next steps; their losses are fetched outside of the measured time.

    Args:
        steps: yields the loss of each step as a tensor, and None after each epoch, whose end is not measured.
        epoch: steps per epoch, a multiple of `lap`.
        lap: steps per lap.

    """

    def __init__(self, steps: Iterator[SupportsFloat | None], epoch: int, lap: int) -> None:
        assert epoch % lap == 0
        self._steps, self._epoch, self._lap = steps, epoch, lap
        self._done = 0

    def __call__(self) -> Lap:
        """Run a lap."""
        losses: list[SupportsFloat | None] = []
        lap = timed(lambda: losses.extend(islice(self._steps, self._lap)))
        self._done += self._lap
        if self._done % self._epoch == 0:
            assert next(self._steps) is None
        return Lap(lap.wall_s, lap.cpu_s, [float(loss) for loss in losses if loss is not None])


class Process:
    """An arm in a process of its own, for settings of a whole process such as its allocator."""

    def __init__(self, file: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, file, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self) -> Lap:
        """Run a lap in the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the arm's process ended; its output is above"
        return Lap(**json.loads(answer))

    def end(self) -> None:
        """End the process; its CPU time then counts as ours."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


def serve(arm: Arm) -> None:
    """Run a lap for every line of standard input: the counterpart of `Process`."""
    for _ in sys.stdin:
        print(json.dumps(asdict(arm())), flush=True)


def run_arms(
    description: str | None,
    arms: Sequence[str],
    serve_arm: Callable[[str, int], None],
    compare: Callable[[int, int], None],
) -> None:
    """Read the command line of a benchmark whose arms are processes of the same file: serve one arm, or compare all.

    Args:
        description: of the benchmark.
        arms: their names.
        serve_arm: serves an arm, by its name and the number of threads.
        compare: starts all arms and compares them, by the numbers of threads and of rounds.

    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--threads", type=int, default=1, help="more than 1 is measured in wall time: use an idle machine"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--arm", choices=arms, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        serve_arm(options.arm, options.threads)
    else:
        compare(options.threads, options.rounds)


def command(*arguments: str, environment: Mapping[str, str] | None = None, code: int = 0) -> tuple[Lap, str]:
    """Return the lap of a command from start to end, and its output."""
    printed: list[str] = []

    def work() -> None:
        done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, **(environment or {})})
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        printed.append(done.stdout + done.stderr)

    lap = timed(work)
    return lap, printed[0]


def curve(laps: list[Lap]) -> list[float]:
    """Return the values of all laps, one after the other."""
    return [loss for lap in laps for loss in lap.values]


def check_equal(first: list[float], second: list[float], relative: float) -> float:
    """Return the largest relative difference of two curves; fail if it exceeds a tolerance."""
    assert first
    assert len(first) == len(second)
    largest = max(abs(a - b) / max(abs(a), abs(b), 1e-12) for a, b in zip(first, second, strict=True))
    assert largest <= relative, f"not the same work: values differ by up to {largest:.2g} of their size"
    return largest


def ratio(laps: Laps, arm: str, peer: str, clock: Clock) -> float:
    """Return how many times faster an arm is than its peer, as the median over the rounds."""
    return statistics.median(_ratios(laps, arm, peer, clock))


def report(laps: Laps, peer: str, clock: Clock, pieces: int, unit: str) -> None:
    """Print each arm's median time per piece, with so many pieces per lap, and its ratio to a peer."""
    print(f"  {'':34}{'median ' + clock[:-2]:>14}  {'times faster than ' + peer} (quartiles)")
    for name, done in laps.items():
        each = statistics.median(_seconds(lap, clock) for lap in done) / pieces
        low, middle, high = statistics.quantiles(_ratios(laps, name, peer, clock), n=4)
        time_text = f"{each * 1e3:.3f} ms" if each >= 1e-3 else f"{each * 1e6:.1f} us"
        print(f"  {name:34}{time_text + '/' + unit:>14}  {middle:.3f} ({low:.3f} to {high:.3f})")


def _ratios(laps: Laps, arm: str, peer: str, clock: Clock) -> list[float]:
    pairs = zip(laps[peer], laps[arm], strict=True)
    return [_seconds(theirs, clock) / _seconds(ours, clock) for theirs, ours in pairs]


def _seconds(lap: Lap, clock: Clock) -> float:
    return lap.cpu_s if clock == "cpu_s" else lap.wall_s


class Machine:
    """The machine of the benchmark, and the share of it that other processes used."""

    def __init__(self) -> None:
        self._busy, self._total = _machine_s()
        self._own = _cpu_s()

    def contamination(self) -> float:
        """Return the share of all cores' time that other processes used; our child processes must have ended."""
        busy, total = _machine_s()
        others = (busy - self._busy) - (_cpu_s() - self._own)
        return max(0.0, others) / max(total - self._total, 1e-9)

    def describe(self, **more: object) -> None:
        """Print the hardware, the versions and the load of the machine."""
        known = _cpu_flags()
        facts = {
            "contamination": f"{self.contamination():.1%}",
            **more,
            "cores": len(os.sched_getaffinity(0)),
            "cpu": " ".join(flag for flag in SHOWN_FLAGS if flag in known) or platform.machine(),
            "python": platform.python_version(),
        }
        print("  " + ", ".join(f"{name} {value}" for name, value in facts.items()))


def _cpu_s() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _machine_s() -> tuple[float, float]:
    """Return the busy and the total seconds of all cores since boot; steal time counts as busy."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / TICKS_PER_S, sum(ticks) / TICKS_PER_S


def _cpu_flags() -> set[str]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()
