"""A text that says what is in an image."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.tokens.tokenizer import PADDING
from stoker.tasks.metrics import Metrics, Shown, Sums, Worst
from stoker.tasks.objective import BatchLike
from stoker.tasks.pictures.caption_metrics import CaptionMetrics
from stoker.tasks.sheet import Page, Picture, Sheet
from stoker.tasks.task import Review
from stoker.tasks.writing.beam_search import Search, searched
from stoker.tasks.writing.perplexity import Perplexity
from stoker.tasks.writing.text_metrics import Bleu, TextMetrics
from stoker.tasks.writing.text_to_text import TextToText

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINE = 28
"""Characters of a line below an image."""


class ImageCaptioning(TextToText):
    """A text for each image."""

    def scores(self) -> TextMetrics:
        """Return BLEU of each caption against its own reference alone."""
        return Bleu(self.target)

    def metrics(self, samples: int) -> Metrics:
        """Return the perplexity of tokens."""
        return Perplexity()

    def expensive_metrics(self, samples: int) -> Metrics:
        """Return BLEU and exact matches, for which all captions of an image count."""
        return CaptionMetrics(self.target)

    def review(self) -> Review:
        """Gather losses by the length of the caption, and the images whose captions were least expected."""
        return CaptionReview(self.target)

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Sheet | Page | None:
        """Return images with a caption of the data and the written one."""
        pixels = self.fields.image.pixels(next(iter(few.inputs.values()))).cpu().numpy()
        written = searched(network, few.inputs, self.target.output.longest, Search.of(network).greedy).tolist()
        pictures = []
        for image, known, own in zip(pixels, few.target.tolist(), written, strict=True):
            truth, said = self.target.text(known), self.target.text(own)
            lines = [*textwrap.wrap(truth, LINE), *textwrap.wrap(f"> {said}", LINE)]
            pictures.append(Picture((image,), "\n".join(lines), wrong=truth != said))
        return Sheet("captions", tuple(pictures))


class CaptionReview(Review):
    """The loss by the length of the caption, and the images with the largest mean loss.

    Args:
        target: of the captions.

    """

    def __init__(self, target: TargetTextField) -> None:
        self._target = target
        self._losses = Sums(2, target.output.length + 1)  # sums, and samples, by tokens
        self._worst = Worst()
        super().__init__(self._losses, self._worst)

    def update(self, output: Tensor, batch: BatchLike, ids: Tensor) -> None:
        """Take in a batch of (B, 1 + n) losses and written tokens."""
        lengths = (batch.target != PADDING).sum(dim=1).clamp(max=self._target.output.length).cpu()
        counted = torch.zeros_like(self._losses.values)
        counted[0].index_add_(0, lengths, output[:, 0].double().cpu())
        counted[1].index_add_(0, lengths, torch.ones(len(lengths), dtype=torch.float64))
        self._losses.add(counted)
        width = self._target.output.longest
        written = torch.nn.functional.pad(output[:, 1:].long(), (0, width))[:, :width]
        self._worst.update(output[:, 0], written, batch.target, ids)

    def figures(self) -> dict[str, "Figure"]:
        """Draw the loss."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        sums, counts = self._losses.values
        lengths = (counts > 0).nonzero().flatten()
        axes.bar(lengths.numpy(), (sums / counts.clamp(min=1))[lengths].numpy())
        axes.set(xlabel=f"{self._target.tokenizer.unit} of the caption", ylabel="loss of a token", ylim=(0, None))
        axes.set_title(f"Loss by the length of the caption, {int(counts.sum())} samples")
        return {"loss-by-length": figure}

    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Return the caption of the data and the written one."""
        rows = []
        for shown in self._worst.samples:
            assert shown.target is not None
            rows.append(
                {
                    "id": shown.id,
                    "target": self._target.text(shown.target.tolist()),
                    "prediction": self._target.text([each for each in shown.output.tolist() if each != PADDING]),
                    "loss": round(shown.loss, 4),
                }
            )
        return rows

    def shown(self) -> Sequence[Shown]:
        """Return the samples behind the rows."""
        return self._worst.samples
