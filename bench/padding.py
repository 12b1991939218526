"""Texts without padding: tokens learnt per second of CPU time, against batches in random order padded to their longest.

- translation: a small encoder-decoder on pairs of sentences of different length. Batches of about equal length, as the
  platform makes them, against random batches.
- letters: a small decoder on lines of a play. Windows over lines that follow one another, as the platform makes them,
  against a line a sample in random batches.

Both arms of a pair have the same network with the same weights; over the same samples their losses must agree.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pairing import Lap, Laps, Machine, alternate, report, timed
from stoker.datasets.columns import Ragged
from stoker.datasets.feeding.order import shuffled
from stoker.datasets.samples import Samples
from stoker.jobfile.loading import parse_job
from stoker.tasks.objective import Objective
from stoker.training.assembly import Assembly, assemble
from stoker.training.parallel import prepare_process
from stoker.training.preparation import prepare

TOLERANCE = 1e-3
BATCH, LAP = 64, 12
Texts = tuple[dict[str, torch.Tensor], torch.Tensor]
"""Inputs and target of a batch."""
TRANSLATION = """
task: translation
dataset:
  source: {data}
  columns: {{features: [a], label: b}}
  text: {{tokens: words, length: 64}}
  split: none
architecture: {{family: transformer, layers: 2, width: 128, dropout: 0.0}}
training: {{epochs: 1, batch_size: 64, precision: fp32}}
"""
LETTERS = """
task: text-generation
dataset: {{source: {data}, text: {{tokens: characters, length: 64}}, split: none}}
architecture: {{family: transformer, layers: 2, width: 128, dropout: 0.0}}
training: {{epochs: 1, batch_size: 64, precision: fp32}}
"""


class Passes:
    """An arm: each lap is some steps of forward and backward."""

    def __init__(self, assembly: Assembly, batches: list[Texts]) -> None:
        self._objective, self._batches, self._next = assembly.objective, batches, 0

    def __call__(self) -> Lap:
        chosen = [self._batches[(self._next + n) % len(self._batches)] for n in range(LAP)]
        self._next += LAP
        tokens = sum(int((target != 0).sum()) for _, target in chosen)
        lap = timed(lambda: self._run(chosen))
        return Lap(lap.wall_s / tokens, lap.cpu_s / tokens)

    def loss(self) -> float:
        """Return the mean loss of all batches."""
        with torch.no_grad():
            total = sum(float(_loss(self._objective, *each)) for each in self._batches)
        return total / sum(int((target != 0).sum()) for _, target in self._batches)

    def _run(self, batches: list[Texts]) -> None:
        for each in batches:
            _loss(self._objective, *each).backward()  # type: ignore[no-untyped-call] # torch's
            self._objective.zero_grad()


class _Rows:
    """A batch as an objective takes it."""

    weight = None

    def __init__(self, inputs: dict[str, torch.Tensor], target: torch.Tensor) -> None:
        self.inputs, self.target, self.rows = inputs, target, slice(0, len(target))

    def __len__(self) -> int:
        return len(self.target)


def _loss(objective: Objective, inputs: dict[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    loss: torch.Tensor = objective(_Rows(inputs, target), "network", None)["loss"]
    return loss


def _own_batches(assembly: Assembly) -> Iterator[Texts]:
    for step in assembly.batches(ahead=False).epoch(0):
        for batch, _ in step.micro_batches:
            assert batch.target is not None
            yield dict(batch.inputs), batch.target


def _random_batches(assembly: Assembly, samples: Samples) -> Iterator[Texts]:
    order = shuffled(len(samples), 0, 0)
    assert samples.target is not None
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH]
        yield {name: column.take(index) for name, column in samples.inputs.items()}, samples.target.take(index)


def sentences(folder: Path) -> Path:
    """Write pairs of sentences whose lengths are those of captions: 5 to 40 words, 13 on average."""
    random = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(500)])
    lengths = np.clip(random.gamma(7.0, 1.9, 6400).astype(int), 4, 40)
    rows = [(" ".join(random.choice(words, n)), " ".join(random.choice(words, max(3, n - 1)))) for n in lengths]
    (folder / "pairs.csv").write_text("a,b\n" + "".join(f"{one},{other}\n" for one, other in rows))
    return folder / "pairs.csv"


def lines(folder: Path) -> Path:
    """Write lines whose lengths are those of a play: names, empty lines, and verses of about 40 letters."""
    random = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz '"))
    text = []
    for _ in range(1200):
        text.append("".join(random.choice(letters, random.integers(4, 16))) + ":")
        for _ in range(random.integers(1, 6)):
            text.append("".join(random.choice(letters, int(np.clip(random.normal(40, 10), 3, 63)))))
        text.append("")
    (folder / "play.txt").write_text("\n".join(text))
    return folder / "play.txt"


def arms(folder: Path) -> dict[str, dict[str, Passes]]:
    pairs = assemble(prepare(parse_job(TRANSLATION.format(data=sentences(folder)), "pairs").task_job))
    play = assemble(prepare(parse_job(LETTERS.format(data=lines(folder)), "play").task_job))
    text = play.data.fields.text
    encoded = [each for each in text.tokenizer.encode((folder / "play.txt").read_text().split("\n")) if len(each) > 1]
    single = Samples(
        {text.name: Ragged.of([each[:-1] for each in encoded])},
        Ragged.of([each[1:] for each in encoded]),
        None,
        torch.arange(len(encoded)),
    )
    return {
        "translation": {
            "equal length": Passes(pairs, list(_own_batches(pairs))),
            "random": Passes(pairs, list(_random_batches(pairs, pairs.parts["train"]))),
        },
        "letters": {
            "windows": Passes(play, list(_own_batches(play))),
            "random": Passes(play, list(_random_batches(play, single))),
        },
    }


def compare(rounds: int) -> None:
    prepare_process(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, made in arms(Path(folder)).items():
            machine = Machine()
            losses = [each.loss() for each in made.values()]
            if name == "translation":
                assert abs(losses[0] - losses[1]) <= TOLERANCE * losses[1], losses
            laps: Laps = alternate(dict(made), rounds)
            print(f"{name}, 64 a batch, 1 thread; losses {losses[0]:.5f} and {losses[1]:.5f}")
            report(laps, "random", "cpu_s", 1, "token")
            machine.describe(torch=torch.__version__)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    compare(parser.parse_args().rounds)
