"""Images that are drawn again from what a network has kept of them."""

from typing import cast

import pandas as pd
import torch
from torch import Tensor, nn

from stoker.datasets.records import Records
from stoker.datasets.rows import decoded_rows, encoded_rows
from stoker.errors import JobError, Problem
from stoker.job.training import Training
from stoker.randomness import PerSampleNoise
from stoker.tasks.abilities import CanRedraw, can_encode, can_redraw
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective, OneNetwork, weighted_count
from stoker.tasks.pictures.drawn_again import DrawnReview, ImageErrors, RowErrors, psnr, row_errors, squared_errors
from stoker.tasks.sheet import Picture, Sheet
from stoker.tasks.task import Answers, Review, Task

GIVEN, DRAWN = "given", "drawn"


class Redrawing(OneNetwork):
    """The squared errors of images that are drawn again, of what the network was given of them."""

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the images, or their weights."""
        return {"loss": weighted_count(batch)}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the sum of the network's losses."""
        return {"loss": self._sum(self._redrawn(batch, noise)[2], batch)}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the losses, and of each image what was given and what is drawn, as (B, numbers)."""
        given, drawn, losses = self._redrawn(batch, noise)
        loss = Loss(self._sum(losses, batch), self.counts(batch, "network")["loss"])
        return {"loss": loss}, torch.cat([given.flatten(1), drawn.flatten(1)], dim=1)

    def _redrawn(self, batch: BatchLike, noise: NoiseLike) -> tuple[Tensor, Tensor, Tensor]:
        return cast("CanRedraw", self.network).redraw(batch.inputs, noise)

    def _sum(self, losses: Tensor, batch: BatchLike) -> Tensor:
        return (losses.float() if batch.weight is None else losses.float() * batch.weight).sum()


class Reconstruction(Task):
    """An image, or a row, again, by way of a code."""

    def objective(self, network: nn.Module, training: Training) -> Objective:
        """Minimise the network's own loss of images that it draws again."""
        objective = Redrawing(network)
        if can_redraw(network):
            return objective
        message = "the network draws no image again: it needs `redraw(inputs, noise)`"
        raise JobError([Problem("architecture", message)])

    def metrics(self, samples: int) -> Metrics:
        """Return squared error and PSNR of what is drawn, and of what was given."""
        shown = self.fields.signature
        return ImageErrors(self.fields.image) if shown.images else RowErrors(shown.numbers)

    def review(self) -> Review:
        """Gather the images with the largest errors, and a map of the codes."""
        return DrawnReview(self.fields)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Sheet | None:
        """Return each image, what the network was given of it, and what it draws; nothing of rows."""
        if not can_redraw(network) or not self.fields.signature.images:
            return None
        given, drawn, _ = network.redraw(few.inputs, PerSampleNoise((seed, "shown"), range(len(few))))
        (images,) = few.inputs.values()
        field = self.fields.image
        shown = [field.pixels(each.float()).cpu().numpy() for each in (images, given, drawn)]
        quality = psnr(squared_errors(field, drawn, images))
        pictures = [
            Picture(tuple(each), f"{float(value):.1f} dB") for *each, value in zip(*shown, quality, strict=True)
        ]
        return Sheet("drawn", tuple(pictures), images=("image", GIVEN, DRAWN))

    def outcome(self, network: nn.Module, batch: BatchLike, noise: NoiseLike, output: Tensor, quick: bool) -> Tensor:
        """Return what was given and drawn with the codes behind it, where the network has some."""
        return torch.cat([output, network.encode(batch.inputs)], dim=1) if can_encode(network) else output

    def answers(self, outputs: Tensor, records: Records) -> Answers:
        """Return the images that are drawn again, and how well; or the rows that are made again, and their errors."""
        if not self.fields.signature.images:
            samples = self.fields.encode(records, target=False)
            rows = encoded_rows(self.fields.gather(samples, torch.arange(len(outputs))))
            errors = row_errors(self.fields.signature.numbers, outputs.float(), rows)
            made = decoded_rows(self.fields, outputs.float().numpy()).add_prefix("made/")
            table = pd.DataFrame({"prediction": errors.numpy()})
            return Answers(pd.concat([table, made], axis=1))
        field = self.fields.image
        given = field.encode(records.columns[field.name]).take(torch.arange(len(outputs)))
        quality = psnr(squared_errors(field, outputs.float(), field.prepare(given)))
        table = pd.DataFrame({"prediction": [f"{value:.1f} dB" for value in quality.tolist()], "psnr": quality.numpy()})
        return Answers(table, field.pixels(outputs.float()).cpu().numpy())
