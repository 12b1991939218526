"""Whether a captioner looks at its pictures: the loss of captions with the right pictures, and with those of others.

The folder is that of `python -m stoker.training JOB --output FOLDER`.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from stoker.datasets.samples import Samples
from stoker.job.job import Job
from stoker.jobfile.loading import load_job
from stoker.training.assembly import assemble
from stoker.training.evaluation import measure
from stoker.training.parallel import prepare_process
from stoker.training.preparation import prepare


def with_other_pictures(samples: Samples, seed: int = 0) -> Samples:
    """Return samples each of which has the picture of another one, drawn at random."""
    drawn = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))
    after = drawn.roll(1)[drawn.argsort()]  # of each sample, the one that was drawn before it
    inputs = {name: column.rows(after) for name, column in samples.inputs.items()}
    return Samples(inputs, samples.target, samples.weight, samples.ids)


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", default="test")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    prepare_process(1)
    job = load_job(given.folder / "resolved.yaml").job
    assert isinstance(job, Job)
    assembly = assemble(prepare(job))
    assembly.objective.load_state_dict(load_file(given.folder / "weights.safetensors"))
    samples = assembly.parts[given.part]

    def loss(of: Samples) -> float:
        return measure(assembly.objective, assembly.task, of, "fp32", 0, expensive_samples=0).metrics["loss"]

    right = loss(samples)
    for seed in range(given.seeds):
        other = loss(with_other_pictures(samples, seed))
        print(f"{given.part}: loss {right:.4f}, with other pictures {other:.4f}: {1 - right / other:.1%} lower")


if __name__ == "__main__":
    main()
