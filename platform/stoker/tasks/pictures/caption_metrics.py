"""BLEU and exact matches of captions, of which an image may have several that are right."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.tasks.metrics import Metrics
from stoker.tasks.objective import BatchLike


@dataclass
class Captioned:
    """An image."""

    written: str
    """What the network says of it."""
    references: list[str] = field(default_factory=list)
    """What the data says of it."""


class CaptionMetrics(Metrics):
    """Scores of distinct images; samples with equal pixels are the same image with another caption.

    BLEU goes from 0 to 100, as sacreBLEU computes it by default (Post 2018), against all captions of an image; a match
    is exact if it is one of them.

    Args:
        target: of the captions.

    """

    def __init__(self, target: TargetTextField) -> None:
        self._target = target
        self._images: dict[str, Captioned] = {}

    def update(self, output: Tensor, batch: BatchLike) -> None:
        """Take in (B, 1 + n) losses and written tokens."""
        (images,) = batch.inputs.values()
        rows = zip(images.float().cpu().numpy(), output[:, 1:].long().tolist(), batch.target.tolist(), strict=True)
        for pixels, written, known in rows:
            digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()
            image = self._images.setdefault(digest, Captioned(self._target.text(written).strip()))
            image.references.append(self._target.text(known).strip())

    def state(self) -> dict[str, Captioned]:
        """Return the images by their digest."""
        return self._images

    def merge(self, state: dict[str, Captioned]) -> None:
        """Add another worker's."""
        for digest, other in state.items():
            self._images.setdefault(digest, Captioned(other.written)).references.extend(other.references)

    def compute(self) -> dict[str, float]:
        """Return each metric; NaN without images."""
        from sacrebleu.metrics.bleu import BLEU

        if not self._images:
            return {"bleu": float("nan"), "exact_match": float("nan")}
        images = [self._images[digest] for digest in sorted(self._images)]
        most = max(len(image.references) for image in images)
        # sacreBLEU takes a list for each place among the references; an image that has fewer has none there.
        references: Any = [[_nth(image.references, place) for image in images] for place in range(most)]
        exact = sum(image.written in image.references for image in images)
        written = [image.written for image in images]
        return {"bleu": BLEU().corpus_score(written, references).score, "exact_match": exact / len(images)}


def _nth(texts: list[str], place: int) -> str | None:
    """Return the text at a place in alphabetical order, which no number of workers changes; None beyond the last."""
    ordered = sorted(texts)
    return ordered[place] if place < len(ordered) else None
