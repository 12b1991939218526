"""Workers that the others wait for."""

from dataclasses import replace

import pytest

from stoker.execution.heartbeat import Beat, Stage
from stoker.execution.machine import Machine
from stoker.execution.stragglers import stragglers


def beats(*seconds):
    beat = Beat(Stage.TRAINING, 1, 0.0, 1, 5, (1, 4))
    return {rank: replace(beat, step_s=each, machine=Machine(f"node-{rank}")) for rank, each in enumerate(seconds)}


def test_a_worker_that_needs_half_as_much_again_as_the_median_is_named_with_its_node():
    assert stragglers(beats(0.010, 0.011, 0.0151, 0.009)) == {
        2: "worker 2 on node-2: 15.1 ms of work a step, 1.5 times the median of 10 ms"
    }


def test_of_two_workers_the_slower_one_is_named():
    assert list(stragglers(beats(3.0, 1.0))) == [0]
    assert "3.00 s of work" in stragglers(beats(3.0, 1.0))[0]


@pytest.mark.parametrize("seconds", [(), (1.0,), (1.0, 1.4), (1.0, 0.0), (0.0, 0.0)])
def test_equal_workers_and_those_of_unknown_pace_are_not_named(seconds):
    assert stragglers(beats(*seconds)) == {}


def test_a_straggler_stays_one_until_it_is_nearly_as_fast_as_the_others():
    assert stragglers(beats(1.0, 1.0, 1.4)) == {}
    assert list(stragglers(beats(1.0, 1.0, 1.4), known={2})) == [2]
    assert stragglers(beats(1.0, 1.0, 1.2), known={2}) == {}


def test_a_worker_with_a_larger_share_is_not_a_straggler():
    uneven = {rank: replace(beat, imbalance=2.0) for rank, beat in beats(1.0, 2.0, 1.0, 2.0).items()}
    assert stragglers(uneven) == {}
    slow = {rank: replace(beat, imbalance=2.0) for rank, beat in beats(1.0, 2.0, 1.0, 3.1).items()}
    assert list(stragglers(slow)) == [3]
