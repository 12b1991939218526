"""Detects known weaknesses of networks that make samples from a run's metrics."""

from collections.abc import Mapping
from math import isfinite

COLLAPSED = 0.5
"""Diversity, as a share of that of real images, below which samples are said to be too much alike."""
COPIES = 0.1
"""Share of samples that are nearer to a training image than 99 % of the held-out images, from which a note is given."""
WON, LOST = 0.05, 1.0
"""Loss of a discriminator that is hardly ever wrong, and of a generator that then has little to learn from."""


def weakness_notes(metrics: Mapping[str, float]) -> dict[str, str]:
    """Return a note for each weakness that the metrics show, by its name.

    Args:
        metrics: of a run's weights, by names such as diversity/val.

    """
    notes = {}
    if (found := _held_out(metrics, "diversity")) and found[1] < COLLAPSED:
        cure = (
            "a lower learning rate of the generator, spectral_norm or loss: hinge of a gan, a longer training of a vae"
        )
        what = "the samples of a class are much more alike than its real images"
        notes["mode collapse"] = f"diversity is {found[1]:.4g} on {found[0]}: {what}; what may help: {cure}"
    if (found := _held_out(metrics, "active_units")) and found[1] == 0:
        what = "no latent number depends on the image, so all samples of a class come from one"
        cure = "a lower architecture.beta, or architecture.free_bits"
        notes["posterior collapse"] = f"active_units is 0 on {found[0]}: {what}; what may help: {cure}"
    if (found := _held_out(metrics, "memorised")) and found[1] > COPIES:
        what = f"{found[1]:.0%} of the samples are nearer to a training image than nearly all real new images"
        cure = "more images, dataset.image.augment, a smaller network or fewer epochs"
        notes["copies"] = f"memorised is {found[1]:.4g} on {found[0]}: {what}; what may help: {cure}"
    discriminator, generator = metrics.get("discriminator/train"), metrics.get("generator/train")
    if discriminator is not None and generator is not None and discriminator < WON and generator > LOST:
        losses = f"discriminator is {discriminator:.4g} and generator {generator:.4g} on train"
        cure = "a lower learning rate of the discriminator, spectral_norm, or fewer channels"
        notes["lost game"] = f"{losses}: the discriminator has won, and teaches little; what may help: {cure}"
    return notes


def _held_out(metrics: Mapping[str, float], quantity: str) -> tuple[str, float] | None:
    """Return a part of the data and a metric's value on it: that of test at the end, of val before."""
    for part in ("test", "val", "train"):
        if isfinite(value := metrics.get(f"{quantity}/{part}", float("nan"))):
            return part, value
    return None
