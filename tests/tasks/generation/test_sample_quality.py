"""The quality of made samples is what the papers define, and what other libraries compute."""

import math

import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from stoker.tasks.generation.moments import Moments, frechet_distance
from stoker.tasks.generation.sample_quality import (
    COPIED,
    diversity,
    kernel_distance,
    mean_distance,
    memorised,
    precision_and_recall,
)


def drawn(count: int, width: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments_of(rows: torch.Tensor) -> Moments:
    moments = Moments(rows.shape[1])
    moments.add(rows)
    return moments


def test_the_frechet_distance_of_equal_sets_is_zero_and_of_normal_ones_its_closed_form():
    real = drawn(20_000)
    assert frechet_distance(moments_of(real), moments_of(real)) == pytest.approx(0, abs=1e-9)
    scale, shift = torch.tensor([1.0, 2.0, 0.5, 3.0]).double(), torch.tensor([0.0, 1.0, -2.0, 0.5]).double()
    other = drawn(20_000, seed=1) * scale + shift
    expected = float(shift.square().sum() + (scale - 1).square().sum())
    assert frechet_distance(moments_of(other), moments_of(real)) == pytest.approx(expected, rel=0.02)
    assert math.isnan(frechet_distance(moments_of(real[:1]), moments_of(real)))


def test_the_kernel_distance_is_that_of_torchmetrics_and_has_no_bias():
    real, made = drawn(150, 6), drawn(150, 6, seed=1) * 1.5 + 0.3
    assert kernel_distance(made, real) == pytest.approx(float(poly_mmd(real, made)), rel=1e-9)
    near = [kernel_distance(drawn(40, seed=2 * n), drawn(40, seed=2 * n + 1)) for n in range(100)]
    assert abs(sum(near) / 100) < 0.05 < max(near)


def test_precision_falls_with_samples_that_are_not_real_and_recall_with_real_ones_that_are_not_made():
    real = drawn(400, 2)
    assert precision_and_recall(real, real) == (1.0, 1.0)
    assert precision_and_recall(real + 100, real) == (0.0, 0.0)
    half = real.clone()
    half[::2] += 100
    precision, recall = precision_and_recall(half, real)
    assert precision == 0.5
    assert 0.7 < recall < 1
    narrow = real[:1] + 0.01 * drawn(400, 2, seed=1)
    precision, recall = precision_and_recall(narrow, real)
    assert precision > 0.95
    assert recall < 0.05
    assert all(map(math.isnan, precision_and_recall(real[:3], real[:3])))


def test_diversity_is_that_of_the_class_with_the_least():
    real, classes = drawn(300), torch.arange(300) % 3
    assert mean_distance(real) == pytest.approx(float(torch.pdist(real).mean()), rel=1e-6)
    assert diversity(real, real, classes) == pytest.approx(1)
    made = real.clone()
    made[classes == 1] *= 0.25
    made[classes == 2] *= 3
    assert diversity(made, real, classes) == pytest.approx(0.25)
    assert math.isnan(diversity(real[:3], real[:3], classes[:3]))


def test_memorised_samples_are_nearer_to_training_images_than_held_out_ones_are():
    training, held_out, new = drawn(500), drawn(500, seed=1), drawn(500, seed=2)
    assert memorised(new, held_out, training) == pytest.approx(COPIED, abs=0.02)
    copies = new.clone()
    copies[:250] = training[:250] + 1e-6
    assert memorised(copies, held_out, training) == pytest.approx(0.5, abs=0.02)
    assert math.isnan(memorised(new, training, training))
