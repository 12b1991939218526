"""Networks of timm."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stoker.architectures.pictures.backbones.library import Library, Stage, of_each_stride
from stoker.datasets.model_files import WEIGHTS, model_folder
from stoker.job.dataset import Normalization
from stoker.job.signature import ImageInput

POSITIONS = "pos_embed"
"""Name of a vision transformer's embedding of places, whose number follows from the picture's size."""


class Timm(Library):
    """Networks of timm (Wightman 2019)."""

    name = "timm"

    def weights(self, model: str) -> Sequence[str]:
        """Return the tags of a network's weights, the recommended one first."""
        import timm

        tags = [each.partition(".")[2] for each in timm.list_models(f"{model}.*", pretrained=True)]
        recommended = timm.get_pretrained_cfg(model)
        first = [recommended.tag] if recommended is not None and recommended.tag in tags else []
        return tuple(dict.fromkeys([*first, *tags]))

    def download(self, model: str, weights: str) -> Path:
        """Return the file in the cache of the Hugging Face Hub."""
        return model_folder(f"timm/{model}.{weights}", "", weights=True) / WEIGHTS

    def normalization(self, model: str, weights: str) -> Normalization:
        """Return mean and deviation of the network's configuration."""
        import timm

        tagged = f"{model}.{weights}" if weights in self.weights(model) else model
        found = timm.get_pretrained_cfg(tagged)
        return Normalization(mean=tuple(found.mean), std=tuple(found.std))

    def build(self, model: str, image: ImageInput) -> tuple[nn.Module, int]:
        """Build the network for the picture's channels, a vision transformer also for its size."""
        import timm

        sized = {"img_size": (image.height, image.width)} if timm.get_pretrained_cfg(model).fixed_input_size else {}
        built: Any = timm.create_model(model, pretrained=False, num_classes=0, in_chans=image.channels, **sized)
        return built, int(getattr(built, "head_hidden_size", built.num_features))

    def stages(self, name: str, model: nn.Module, image: ImageInput) -> tuple[Stage, ...]:
        """Return the stages that the network names itself; none where it names none, or returns no maps."""
        found: Any = model
        if not hasattr(found, "forward_intermediates"):
            return ()
        infos = found.feature_info
        return of_each_stride([Stage(each["module"], each["num_chs"], each["reduction"]) for each in infos])

    def with_maps(self, model: nn.Module, stages: Sequence[Stage]) -> nn.Module:
        """Return the network as it is."""
        return model

    def maps(self, model: nn.Module, stages: Sequence[Stage], images: Tensor) -> list[Tensor]:
        """Return the network's intermediate maps."""
        network: Any = model
        places = {each["module"]: number for number, each in enumerate(network.feature_info)}
        chosen = [places[stage.module] for stage in stages]
        maps: list[Tensor] = network.forward_intermediates(images, indices=chosen, intermediates_only=True)
        return maps

    def adapted(self, weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Interpolate the embedding of places of a vision transformer."""
        own: Any = model
        given, wanted = weights.get(POSITIONS), getattr(own, POSITIONS, None)
        if given is None or wanted is None or given.shape == wanted.shape or given.ndim != 3:
            return weights
        from timm.layers import resample_abs_pos_embed

        before = 0 if getattr(own, "no_embed_class", False) else getattr(own, "num_prefix_tokens", 1)
        resampled = resample_abs_pos_embed(given, own.patch_embed.grid_size, num_prefix_tokens=before)
        return {**weights, POSITIONS: resampled}
