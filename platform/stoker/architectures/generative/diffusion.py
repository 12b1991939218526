"""Diffusion: a network learns to take noise out of images, or out of their codes, and makes new ones of noise alone."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from stoker.architectures.generative import vae
from stoker.architectures.generative.denoisers import DenoisingLayers, DenoisingUnet
from stoker.architectures.generative.noise_levels import Diffused, NoiseLevels, Straight
from stoker.architectures.generative.samplers import sampled
from stoker.architectures.pictures import autoencoder
from stoker.architectures.pictures.widths import doubling
from stoker.errors import JobError, Problem
from stoker.job.architecture.autoencoder import Autoencoder as AutoencoderSettings
from stoker.job.architecture.diffusion import Diffusion as DiffusionSettings
from stoker.job.architecture.vae import Vae as VaeSettings
from stoker.job.dataset import Normalization
from stoker.job.saved_model import JOB
from stoker.job.signature import Signature
from stoker.randomness import Noise

FIRST_CHANNELS, MAX_CHANNELS = 32, 128
LAYERS = (256, 256, 256, 256)
"""Default layers for codes."""
SMALLEST = 1e-3
"""Least deviation of a number of a code."""
CODES: dict[str, type[AutoencoderSettings | VaeSettings]] = {"autoencoder": AutoencoderSettings, "vae": VaeSettings}
NO_START = (
    "codes of which network? name the run of an autoencoder or vae as training.start_from (example: run:digits-vae)"
)
AVERAGE = 0.999
"""Share of the average of the weights that each step keeps: without one images are poor."""
MIN_MAP = 7
"""Default stages halve the image down to about this size."""


class Diffusion(nn.Module, ABC):
    """A network that takes noise out of something, with its levels of noise and its way to make new ones.

    Args:
        settings: of the family.
        signature: of the data.
        shape: of what is made for a sample.
        denoiser: from noised samples (B, *shape), (B,) times and (B,) classes or None to what it is asked for.

    """

    def __init__(
        self, settings: DiffusionSettings, signature: Signature, shape: tuple[int, ...], denoiser: nn.Module
    ) -> None:
        super().__init__()
        self.name = next(iter(signature.images))
        self.classes = len(signature.classes)
        self.class_dropout, self.guidance = settings.class_dropout, settings.guidance
        self.sampling_steps = settings.sampling_steps
        self.shape, self.denoiser = shape, denoiser
        flow = settings.predicts == "flow"
        self.sampler = "euler" if flow else settings.sampler or "dpm-solver++"
        self.levels: NoiseLevels = (
            Straight(settings.steps)
            if flow
            else Diffused(settings.steps, settings.noise, settings.predicts, settings.min_snr)
        )

    @abstractmethod
    def clean(self, images: Tensor, classes: Tensor | None) -> Tensor:
        """Return (B, *shape) what is made noise of, of images (B, channels, height, width)."""

    @abstractmethod
    def pictures(self, made: Tensor, classes: Tensor | None) -> Tensor:
        """Return standardised images (B, channels, height, width) of what is made (B, *shape)."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, *shape) what is guessed of images (B, channels, height, width) on the first level of noise."""
        images = inputs[self.name]
        return self._guessed(self.clean(images, None), torch.zeros(len(images), device=images.device), None)

    def errors(self, inputs: Mapping[str, Tensor], classes: Tensor | None, noise: Noise) -> tuple[Tensor, Tensor]:
        """Return (B,) mean squared errors of images on a level of noise each, and their (B,) weights while training."""
        clean = self.clean(inputs[self.name], classes).float()
        spoilt, times, target, weights = self.levels.noised(clean, noise.normal(*self.shape), noise.uniform())
        hidden = noise.uniform() < self.class_dropout
        if classes is not None and self.training:
            classes = classes.masked_fill(hidden, self.classes)
        return (self._guessed(spoilt, times, classes) - target).square().flatten(1).mean(dim=1), weights

    def sample(self, classes: Tensor | None, noise: Noise) -> Tensor:
        """Return one standardised image for each row of the noise."""
        *_, last = self._steps(noise.normal(*self.shape), classes, noise)
        return self.pictures(last, classes)

    def unfold(self, classes: Tensor | None, noise: Noise) -> Tensor:
        """Return (steps + 1, B, channels, height, width) standardised images: noise, and what it is after each step."""
        start = noise.normal(*self.shape)
        return torch.stack([self.pictures(each, classes) for each in (start, *self._steps(start, classes, noise))])

    def _steps(self, start: Tensor, classes: Tensor | None, noise: Noise) -> Iterator[Tensor]:
        """Yield (B, *shape) what becomes of noise (B, *shape) in each step."""

        def denoise(samples: Tensor, time: Tensor) -> Tensor:
            times = time.to(torch.float32).expand(len(samples))
            if classes is None or self.guidance == 1:
                return self._guessed(samples, times, classes)
            unknown = torch.full_like(classes, self.classes)
            twice = torch.cat([samples, samples]), times.repeat(2), torch.cat([classes, unknown])
            known, free = self._guessed(*twice).chunk(2)
            return free + self.guidance * (known - free)

        clip = isinstance(self, PixelDiffusion)
        yield from sampled(self.levels, self.sampler, self.sampling_steps, clip, start, noise, denoise)

    def _guessed(self, samples: Tensor, times: Tensor, classes: Tensor | None) -> Tensor:
        guessed: Tensor = self.denoiser(samples, times, classes)
        return guessed.float()


class PixelDiffusion(Diffusion):
    """Diffusion of the images themselves."""

    def __init__(self, settings: DiffusionSettings, signature: Signature) -> None:
        assert settings.channels is not None
        shape = signature.image
        denoiser = DenoisingUnet(
            shape.channels,
            max(shape.height, shape.width),
            settings.channels,
            settings.blocks,
            settings.attention,
            settings.patch,
            settings.dropout,
            len(signature.classes),
        )
        super().__init__(settings, signature, (shape.channels, shape.height, shape.width), denoiser)

    def clean(self, images: Tensor, classes: Tensor | None) -> Tensor:
        """Return the images."""
        return images

    def pictures(self, made: Tensor, classes: Tensor | None) -> Tensor:
        """Return what is made, within black and white."""
        return made.clamp(-1, 1)


class LatentDiffusion(Diffusion):
    """Diffusion of the codes of an autoencoder, whose weights stay as they are."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: DiffusionSettings, signature: Signature) -> None:
        assert settings.channels is not None
        assert settings.autoencoder is not None
        code = _code(settings.autoencoder)
        denoiser = DenoisingLayers(code, settings.channels, settings.dropout, len(signature.classes))
        super().__init__(settings, signature, (code,), denoiser)
        family = vae if isinstance(settings.autoencoder, VaeSettings) else autoencoder
        self.autoencoder = family.build(settings.autoencoder, signature).requires_grad_(False)
        self.register_buffer("mean", torch.zeros(code))
        self.register_buffer("deviation", torch.ones(code))

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation, but for the autoencoder."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    @torch.no_grad()
    def memorise(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Replace mean and deviation of the codes by those of training samples."""
        codes = torch.cat([self.autoencoder.encode(inputs).double() for inputs in batches])
        self.mean.copy_(codes.mean(dim=0))
        self.deviation.copy_(codes.std(dim=0, correction=0).clamp(min=SMALLEST))

    def clean(self, images: Tensor, classes: Tensor | None) -> Tensor:
        """Return standardised codes."""
        with torch.no_grad():
            code: Tensor = self.autoencoder.code_of(images, self._known(images, classes))
        return (code.float() - self.mean) / self.deviation

    def pictures(self, made: Tensor, classes: Tensor | None) -> Tensor:
        """Return what the autoencoder draws of codes."""
        drawn: Tensor = self.autoencoder.drawn_of(made * self.deviation + self.mean, self._known(made, classes))
        return drawn

    def _known(self, rows: Tensor, classes: Tensor | None) -> Tensor | None:
        """Return classes; of those that are not known, the first one."""
        if classes is None and self.classes:
            return torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        return classes


def build(settings: DiffusionSettings, signature: Signature) -> nn.Module:
    """Build the network."""
    return LatentDiffusion(settings, signature) if settings.latent else PixelDiffusion(settings, signature)


def with_start(settings: DiffusionSettings, start: Path) -> DiffusionSettings:
    """Fill in the network whose codes are made: that of a saved model, or the one within it."""
    if not settings.latent or settings.autoencoder:
        return settings
    found = json.loads((start / JOB).read_text(encoding="utf-8"))["architecture"]
    inner = found.get("autoencoder", found)
    if inner["family"] not in CODES:
        message = f"'{start}' is a {inner['family']}; latent diffusion needs {' or '.join(CODES)}"
        raise JobError([Problem("training.start_from", message)])
    autoencoder_settings = TypeAdapter[AutoencoderSettings | VaeSettings](CODES[inner["family"]]).validate_python(inner)
    return settings.model_copy(update={"autoencoder": autoencoder_settings})


def with_default_sizes(settings: DiffusionSettings, signature: Signature, samples: int) -> DiffusionSettings:
    """Choose stages that halve the image to about 7 pixels and double the channels, unless the job sets them."""
    if settings.channels is not None or len(signature.images) != 1:
        return settings
    if settings.latent:
        return settings.model_copy(update={"channels": LAYERS})
    side = min(signature.image.height, signature.image.width) / settings.patch
    stages = 1 + max(0, int(math.log2(max(side / MIN_MAP, 1))))
    return settings.model_copy(update={"channels": doubling(stages, FIRST_CHANNELS, MAX_CHANNELS)})


def normalization(settings: DiffusionSettings) -> Normalization | None:
    """Return pixels from -1 to 1, like the noise; those of codes are as the autoencoder knows them."""
    return None if settings.latent else vae.PIXELS


def misfits(settings: DiffusionSettings, signature: Signature) -> list[Problem]:
    """Return the settings that do not fit each other or the size of the images."""
    if settings.latent:
        return [] if settings.autoencoder else [Problem("architecture.latent", NO_START)]
    image = signature.image
    if image.height % settings.patch or image.width % settings.patch:
        message = f"{settings.patch} pixels do not divide images of {image.height}x{image.width}"
        return [Problem("architecture.patch", message)]
    side = min(image.height, image.width) // settings.patch
    if settings.channels and 2 ** (len(settings.channels) - 1) > side:
        most = int(math.log2(side)) + 1
        message = f"{len(settings.channels)} stages halve maps of {side} pixels to nothing; use at most {most}"
        return [Problem("architecture.channels", message)]
    return []


def _code(settings: AutoencoderSettings | VaeSettings) -> int:
    return settings.latent if isinstance(settings, VaeSettings) else settings.code
