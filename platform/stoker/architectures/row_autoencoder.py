"""A dense autoencoder for rows of a table: a row that it cannot make again is odd."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from stoker.architectures.layers import ACTIVATIONS
from stoker.architectures.one_hot import OneHotRows
from stoker.job.architecture.autoencoder import Autoencoder as AutoencoderSettings
from stoker.job.signature import NormalityOutput, Signature
from stoker.randomness import Noise


class RowAutoencoder(nn.Module):
    """Layers from numbers and one-hot categories to a code, and the same backwards."""

    threshold: Tensor
    column_of: Tensor
    sizes: Tensor

    def __init__(self, settings: AutoencoderSettings, signature: Signature) -> None:
        super().__init__()
        assert settings.hidden is not None
        self.one_hot = OneHotRows(signature)
        self.noise, self.mask, self.sparse = settings.noise, settings.mask, settings.sparse
        self.judges = isinstance(signature.output, NormalityOutput)
        self.register_buffer("threshold", torch.ones(()))
        sizes = [1] * self.one_hot.numbers + [*self.one_hot.sizes]
        places = [column for column, size in enumerate(sizes) for _ in range(size)]
        self.register_buffer("column_of", torch.tensor(places), persistent=False)
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)
        widths = [self.one_hot.width, *settings.hidden, settings.code]
        self.encoder = _dense(widths, ACTIVATIONS[settings.activation])
        self.decoder = _dense(widths[::-1], ACTIVATIONS[settings.activation])

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, numbers + categories) rows that are made again; or, to find anomalies, how odd rows are.

        That is (B, 1 + numbers + categories) the mean squared error of a row and that of each column, both in units of
        the threshold.
        """
        vectors = self.one_hot.vectors(inputs)
        made = self.decoder(self.encoder(vectors)).float()
        if not self.judges:
            return self.one_hot.rows(made)
        errors = (made - vectors).square()
        each = errors.new_zeros(len(errors), len(self.sizes)).index_add_(1, self.column_of, errors) / self.sizes
        return torch.cat([errors.mean(dim=1, keepdim=True), each], dim=1) / self.threshold

    def losses(self, inputs: Mapping[str, Tensor], classes: Tensor, noise: Noise) -> Tensor:
        """Return (B,) mean squared errors; only training spoils what the network sees."""
        vectors = self.one_hot.vectors(inputs)
        return self._made_again(self._spoilt(vectors, noise) if self.training else vectors, vectors)[1]

    def redraw(self, inputs: Mapping[str, Tensor], noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows (B, numbers + categories) as they are given, as they are made again, and (B,) losses."""
        vectors = self.one_hot.vectors(inputs)
        given = self._spoilt(vectors, noise)
        made, losses = self._made_again(given, vectors)
        return self.one_hot.rows(given), self.one_hot.rows(made), losses

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, code) codes."""
        code: Tensor = self.encoder(self.one_hot.vectors(inputs))
        return code

    def _spoilt(self, vectors: Tensor, noise: Noise) -> Tensor:
        """Return rows with noise, and with hidden columns."""
        if self.noise:
            vectors = vectors + self.noise * noise.normal(self.one_hot.width)
        if self.mask:
            shown = noise.uniform(len(self.sizes)) >= self.mask
            vectors = vectors * shown[:, self.column_of]
        return vectors

    def _made_again(self, given: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is made of rows, and (B,) losses."""
        code = self.encoder(given)
        made = self.decoder(code).float()
        losses = (made - vectors).square().mean(dim=1)
        return made, losses + self.sparse * code.float().abs().mean(dim=1) if self.sparse else losses


def _dense(widths: list[int], activation: type[nn.Module]) -> nn.Sequential:
    """Build linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])
