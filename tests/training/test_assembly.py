"""Building network and objective of a prepared job."""

import torch

from stoker.training.assembly import assemble
from stoker.training.preparation import prepare


def test_the_weights_depend_on_the_seed_alone(make_job):
    def weights(seed: int) -> list[torch.Tensor]:
        torch.rand(seed + 1)  # earlier draws must not matter
        job = make_job("tabular-classification", "xor", training={"seed": seed})
        return list(assemble(prepare(job)).objective.parameters())

    before = torch.get_rng_state()
    first, again, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    torch.set_rng_state(before)
