"""What is measured and shown of images that are drawn again."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stoker.datasets.fields.image import LEVELS, ImageField
from stoker.datasets.fields.schema import Fields
from stoker.datasets.rows import encoded_rows
from stoker.tasks.metrics import Metrics, Shown, Sums, Worst
from stoker.tasks.objective import BatchLike
from stoker.tasks.task import Review

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXACT = 1e-10
"""Smallest squared error that counts: that of an exact image is infinitely good."""
SPOILT = 99.0
"""PSNR above which images are given as they are."""
MOST_CODES = 2000
"""Codes on a map."""


def squared_errors(field: ImageField, drawn: Tensor, images: Tensor) -> Tensor:
    """Return the (B,) mean squared errors of standardised images, in units of black to white."""
    scale = torch.tensor(field.scale, device=images.device).view(-1, 1, 1) / LEVELS
    mean = torch.tensor(field.mean, device=images.device).view(-1, 1, 1) / LEVELS
    shown = [(each.float() * scale + mean).clamp(0, 1) for each in (drawn, images)]
    return (shown[0] - shown[1]).square().flatten(1).mean(dim=1)


def row_errors(numbers: int, made: Tensor, rows: Tensor) -> Tensor:
    """Return the (B,) mean errors of (B, numbers + categories): squared ones of numbers, 1 for a wrong category."""
    errors = torch.cat([(made - rows)[:, :numbers].square(), (made != rows)[:, numbers:].to(rows.dtype)], dim=1)
    return errors.mean(dim=1)


def parted(output: Tensor, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what was given and drawn, in the shape of the images, and the codes (B, code), of (B, numbers)."""
    pixels = math.prod(images.shape[1:])
    given, drawn = (output[:, begin : begin + pixels].view(images.shape) for begin in (0, pixels))
    return given, drawn, output[:, 2 * pixels :]


def psnr(errors: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratios of mean squared errors, in dB."""
    return -10 * errors.double().clamp(min=EXACT).log10()


class ImageErrors(Metrics):
    """Mean squared error and mean PSNR of the drawn images, and the PSNR of what was given in their place."""

    def __init__(self, field: ImageField) -> None:
        self._field = field
        self._sums = torch.zeros(4, dtype=torch.float64)
        """Number of images, squared errors, PSNR of the drawn and of the given images."""

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in what was given, what is drawn, and perhaps codes, (B, numbers)."""
        (images,) = batch.inputs.values()
        given, drawn, _ = parted(output, images)
        given, drawn = (squared_errors(self._field, each, images).cpu() for each in (given, drawn))
        counted = torch.tensor(float(len(images)), dtype=torch.float64)
        self._sums += torch.stack([counted, drawn.double().sum(), psnr(drawn).sum(), psnr(given).sum()])

    def state(self) -> Tensor:
        """Return the sums."""
        return self._sums

    def merge(self, state: Tensor) -> None:
        """Add another worker's."""
        self._sums += state

    def compute(self) -> dict[str, float]:
        """Return each mean; `psnr_given` only where images are spoilt."""
        count, errors, drawn, given = self._sums.tolist()
        found = {"mse": errors / count, "psnr": drawn / count}
        return found if given / count > SPOILT else {**found, "psnr_given": given / count}


class RowErrors(Metrics):
    """Mean squared error of rows that are made again; there is no PSNR without black and white.

    Args:
        numbers: of a row; its other columns are categories.

    """

    def __init__(self, numbers: int) -> None:
        self._numbers, self._sums = numbers, Sums(2)

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in what was given, what is made, and perhaps codes, (B, numbers)."""
        rows = encoded_rows(batch.inputs)
        errors = row_errors(self._numbers, parted(output, rows)[1], rows).double()
        self._sums.add(torch.stack([errors.sum(), errors.new_tensor(float(len(errors)))]))

    def state(self) -> Tensor:
        """Return sum and count."""
        return self._sums.state()

    def merge(self, state: Tensor) -> None:
        """Add another worker's."""
        self._sums.merge(state)

    def compute(self) -> dict[str, float]:
        """Return the mean."""
        total, count = self._sums.values.tolist()
        return {"mse": total / count}


class DrawnReview(Review):
    """The images or rows with the largest errors, and the codes of all.

    Args:
        fields: of the samples.

    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._worst, self._codes = Worst(), Codes()
        super().__init__(self._worst, self._codes)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch, as the metrics do."""
        shown = self._fields.signature
        samples = next(iter(batch.inputs.values())) if shown.images else encoded_rows(batch.inputs)
        _, drawn, codes = parted(output, samples)
        losses = (
            squared_errors(self._fields.image, drawn, samples)
            if shown.images
            else row_errors(shown.numbers, drawn, samples)
        )
        self._worst.update(losses, drawn, batch.target, ids)
        self._codes.add(codes, batch.target)

    def figures(self) -> dict[str, "Figure"]:
        """Draw the codes by their two largest principal components, in the colours of their classes."""
        from matplotlib.figure import Figure
        from sklearn.decomposition import PCA

        figure = Figure(figsize=(7, 6), layout="constrained")
        axes = figure.add_subplot()
        codes, classes = self._codes.some()
        places = np.zeros((len(codes), 2))
        if len(codes) > 1 and codes.shape[1] > 1:
            places = PCA(2).fit_transform(codes)
        elif len(codes):
            places[:, 0] = codes[:, 0]
        if classes is None:
            axes.scatter(places[:, 0], places[:, 1], s=6)
        else:
            drawn = axes.scatter(places[:, 0], places[:, 1], s=6, c=classes, cmap="tab10")
            figure.colorbar(drawn, ax=axes, label="class")
        axes.set(title=f"Codes of {len(codes)} samples", xlabel="first component", ylabel="second component")
        return {"codes": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Describe images by their PSNR, and rows by their error."""
        images = bool(self._fields.signature.images)
        return [
            {
                "id": shown.id,
                "target": "" if shown.target is None else int(shown.target),
                "prediction": f"{float(psnr(torch.tensor(shown.loss))):.1f} dB" if images else f"{shown.loss:.3g}",
                "loss": round(shown.loss, 6),
            }
            for shown in self._worst.samples
        ]

    def shown(self) -> Sequence[Shown]:
        """Return the images behind the rows."""
        return self._worst.samples

    def drawn(self, shown: Shown) -> Sequence[np.ndarray]:
        """Return what was drawn of the image."""
        return list(self._fields.image.pixels(shown.output.unsqueeze(0).float()).cpu().numpy())


class Codes:
    """The codes of the first images, with their classes where they have some."""

    def __init__(self) -> None:
        self._codes: list[Tensor] = []
        self._classes: list[Tensor] = []

    def add(self, codes: Tensor, classes: Tensor | None) -> None:
        """Take in (B, code) codes and (B,) classes."""
        if sum(map(len, self._codes)) < MOST_CODES:
            self._codes.append(codes.cpu())
            if classes is not None:
                self._classes.append(classes.cpu())

    def state(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return all codes and classes."""
        return self._codes, self._classes

    def merge(self, state: tuple[list[Tensor], list[Tensor]]) -> None:
        """Add another worker's."""
        self._codes += state[0]
        self._classes += state[1]

    def some(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (N, code) codes and (N,) classes, in an order that does not depend on who computed them."""
        codes = torch.cat(self._codes).numpy() if self._codes else np.zeros((0, 0))
        if not codes.size:  # of a network without codes
            return np.zeros((0, 2)), None
        order = np.lexsort(codes.T)
        order = order[np.linspace(0, len(order) - 1, min(len(order), MOST_CODES)).round().astype(int)]
        return codes[order], torch.cat(self._classes).numpy()[order] if self._classes else None
