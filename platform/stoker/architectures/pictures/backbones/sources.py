"""Where a backbone and its weights come from: the library of its name, and the file of its weights."""

from pathlib import Path

from stoker.architectures.pictures.backbones.library import Library
from stoker.architectures.pictures.backbones.timm_models import Timm
from stoker.architectures.pictures.backbones.torchvision_models import Torchvision
from stoker.errors import JobError, Problem, Unreachable
from stoker.job.architecture.backbone import WEIGHT_SUFFIXES, Backbone
from stoker.job.dataset import Normalization
from stoker.job.signature import ImageInput
from stoker.jobfile.backbone_names import library_name
from stoker.jobfile.suggestion import did_you_mean

WEIGHTS, FROZEN = "architecture.backbone.weights", "architecture.backbone.frozen_stages"
SHOWN = 6
COLOURS = 3
LIBRARIES: dict[str, Library] = {each.name: each for each in (Torchvision(), Timm())}
"""By name."""


def library_of(settings: Backbone) -> Library:
    """Return the library that has a network.

    Raises:
        JobError: none has it, or timm is not installed.

    """
    found = library_name(settings)
    if isinstance(found, Problem):
        raise JobError([found])
    return LIBRARIES[found]


def pinned(settings: Backbone) -> Backbone:
    """Return settings with the library and the weights that `auto` and `default` stand for."""
    library = library_of(settings)
    weights = pinned_weights(library, settings.name, settings.weights)
    return settings.model_copy(update={"library": library.name, "weights": weights})


def pinned_weights(library: Library, name: str, weights: str) -> str:
    """Return the id that `default` stands for, or the whole path of a file."""
    if weights == "default":
        return library.weights(name)[0]
    return str(Path(weights).expanduser().absolute()) if is_file(weights) else weights


def is_file(weights: str) -> bool:
    """Return whether weights are named by a file rather than by an id."""
    return weights.endswith(WEIGHT_SUFFIXES) or "/" in weights


def unavailable(settings: Backbone) -> list[Problem]:
    """Return what keeps a backbone from being built: an unknown name, unknown weights, or weights out of reach."""
    found = library_name(settings)
    if isinstance(found, Problem):
        return [found]
    return unavailable_weights(LIBRARIES[found], settings.name, settings.weights, WEIGHTS)


def unavailable_weights(library: Library, name: str, weights: str, key: str) -> list[Problem]:
    """Return what keeps the weights of a network from being read; `key` is that of the job which names them."""
    if weights == "none":
        return []
    if is_file(weights):
        cure = "correct the path, or write none to start from random weights"
        is_there = Path(weights).expanduser().is_file()
        return [] if is_there else [Problem(key, f"there is no file '{weights}'; {cure}")]
    known = library.weights(name)
    if not known:
        cure = "name a file with weights, or write none"
        return [Problem(key, f"{library.name} has no weights for {name}; {cure}")]
    if weights != "default" and weights not in known:
        shown = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
        message = f"{library.name} has no weights '{weights}' of {name}{did_you_mean(weights, known)}"
        return [Problem(key, f"{message}; it has {shown}; a file ends in {', '.join(WEIGHT_SUFFIXES)}")]
    try:
        downloaded(library, name, weights)
    except Exception as error:  # each library and its client fail in their own ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"'{weights}' of {name} cannot be downloaded ({reason[:160]})"
        cure = "allow the network, name a file with the weights in their place, or write none for random ones"
        return [Problem(key, f"{message}; {cure}")]
    return []


def weight_file(settings: Backbone) -> Path:
    """Return the file of a backbone's weights, which is downloaded once.

    Raises:
        Exception: any, if the address is out of reach.

    """
    fixed = pinned(settings)
    return downloaded(LIBRARIES[fixed.library], fixed.name, fixed.weights)


def downloaded(library: Library, name: str, weights: str) -> Path:
    """Return the file of a network's weights.

    Raises:
        Exception: any, if the address is out of reach.

    """
    fixed = pinned_weights(library, name, weights)
    if is_file(fixed):
        return Path(fixed)
    try:
        return library.download(name, fixed)
    except OSError as error:
        raise Unreachable(f"{fixed} of {name}: {error}") from error


def normalization(settings: Backbone) -> Normalization | None:
    """Return how pictures are standardised for a backbone's weights; None for random ones."""
    if settings.weights == "none":
        return None
    fixed = pinned(settings)
    return LIBRARIES[fixed.library].normalization(fixed.name, fixed.weights)


def colour_misfits(name: str, weights: str, image: ImageInput) -> list[Problem]:
    """Return the problem of weights of a network for coloured pictures where the pictures have none."""
    if weights == "none" or image.channels == COLOURS:
        return []
    message = f"the weights of {name} are of three colours, the pictures have {image.channels} channel"
    return [Problem("dataset.image.normalization", f"{message}; leave it out")]
