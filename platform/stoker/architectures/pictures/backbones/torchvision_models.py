"""Networks of torchvision."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stoker.architectures.layers import Norm
from stoker.architectures.pictures.backbones.library import Library, Stage, of_each_stride
from stoker.job.dataset import Normalization
from stoker.job.signature import ImageInput

WITHOUT_MAPS = ("vit_", "swin_", "maxvit_")
"""Networks whose states are no maps of channels, height and width."""
STRIDES = (2, 4, 8, 16, 32)
PROBED = 64
"""Side of the picture that the strides are found with."""
USUAL = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Of all weights in torchvision that were trained on ImageNet."""


class Torchvision(Library):
    """Networks of torchvision.models."""

    name = "torchvision"

    def weights(self, model: str) -> Sequence[str]:
        """Return the names of the enumeration."""
        from torchvision.models import get_model_weights

        known = get_model_weights(model)
        return tuple(dict.fromkeys([known.DEFAULT.name, *(each.name for each in known)]))

    def download(self, model: str, weights: str) -> Path:
        """Return the file in the cache of torch.hub."""
        url: str = self._entry(model, weights).url
        file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            digest = file.stem.rpartition("-")[2]
            torch.hub.download_url_to_file(url, str(file), hash_prefix=digest, progress=False)
        return file

    def normalization(self, model: str, weights: str) -> Normalization:
        """Return mean and deviation of the weights' own transform."""
        if weights not in self.weights(model):
            return USUAL
        transform = self._entry(model, weights).transforms()
        return Normalization(mean=tuple(transform.mean), std=tuple(transform.std))

    def build(self, model: str, image: ImageInput) -> tuple[nn.Module, int]:
        """Build the network; its last linear layer becomes the identity, its first one takes the picture's channels."""
        from torchvision.models import get_model

        sized: dict[str, object] = {}
        if model.startswith("vit_"):
            if image.height != image.width:
                raise ValueError("it takes square pictures alone; vision transformers of timm take others, too")
            sized = {"image_size": image.height}
        elif model.startswith("maxvit"):
            sized = {"input_size": (image.height, image.width)}
        built: nn.Module = get_model(model, weights=None, **sized)
        name, last = [each for each in built.named_modules() if isinstance(each[1], nn.Linear)][-1]
        _replace(built, name, nn.Identity())
        if image.channels != 3:
            name, first = next(each for each in built.named_modules() if isinstance(each[1], nn.Conv2d))
            _replace(built, name, with_channels(first, image.channels))
        return built, last.in_features

    def stages(self, name: str, model: nn.Module, image: ImageInput) -> tuple[Stage, ...]:
        """Return the outer modules that end each stride, found by passing a picture through the network."""
        return _stages(name)

    def with_maps(self, model: nn.Module, stages: Sequence[Stage]) -> nn.Module:
        """Return the network cut by torchvision's feature extraction."""
        from torchvision.models.feature_extraction import create_feature_extractor

        nodes = {stage.module: str(number) for number, stage in enumerate(stages)}
        extractor: nn.Module = create_feature_extractor(model, nodes, tracer_kwargs={"leaf_modules": [Norm]})
        return extractor

    def maps(self, model: nn.Module, stages: Sequence[Stage], images: Tensor) -> list[Tensor]:
        """Return what the feature extractor returns."""
        return list(model(images).values())

    def _entry(self, model: str, weights: str) -> Any:
        from torchvision.models import get_model_weights

        return get_model_weights(model)[weights]


@cache
def _stages(name: str) -> tuple[Stage, ...]:
    """Return the modules, at most two names deep, behind which no other one has maps of the same stride."""
    if name.startswith(WITHOUT_MAPS):
        return ()
    found: list[Stage] = []

    def note(module_name: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            stride = PROBED // output.shape[2]
            if stride in STRIDES and output.shape[2] == output.shape[3] == PROBED // stride:
                found.append(Stage(module_name, output.shape[1], stride))

    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        try:
            model, _ = Torchvision().build(name, ImageInput(3, PROBED, PROBED))
            for module_name, module in model.named_modules():
                if module_name and module_name.count(".") < 2 and not isinstance(module, nn.Identity):
                    module.register_forward_hook(
                        lambda _module, _inputs, output, module_name=module_name: note(module_name, output)
                    )
            model.eval()(torch.zeros(1, 3, PROBED, PROBED))
        except RuntimeError:  # it takes no picture of this size
            return ()
    return of_each_stride(found)


def _replace(model: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, new)


def with_channels(layer: nn.Module, channels: int) -> nn.Conv2d:
    """Return a new convolution like another one, for so many channels."""
    assert isinstance(layer, nn.Conv2d)
    assert isinstance(layer.padding, tuple)
    return nn.Conv2d(
        channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type] # of two numbers, which torch's types do not know
        layer.stride,  # type: ignore[arg-type] # the same
        layer.padding,  # type: ignore[arg-type] # the same
        bias=layer.bias is not None,
    )
