"""Settings of a network that say how texts are searched for: those of networks that write texts."""

from typing import TypeVar

from stoker.errors import Problem
from stoker.job.architecture.pretrained import Pretrained
from stoker.job.architecture.rnn import Rnn
from stoker.job.architecture.transformer import Transformer
from stoker.job.signature import Signature, TextOutput

DEFAULTS = {"beam": 4, "length_penalty": 1.0, "no_repeat": 0}
Settings = TypeVar("Settings", Pretrained, Rnn, Transformer)


def with_search(settings: Settings, signature: Signature) -> Settings:
    """Fill in how a network that writes texts searches for them."""
    if not isinstance(signature.output, TextOutput):
        return settings
    missing = {key: value for key, value in DEFAULTS.items() if getattr(settings, key) is None}
    return settings.model_copy(update=missing)


def search_misfits(settings: Pretrained | Rnn | Transformer, signature: Signature) -> list[Problem]:
    """Return a problem for each such setting of a network that writes no text."""
    if isinstance(signature.output, TextOutput):
        return []
    message = "does nothing for this task: it is for translation and summarization; leave it out"
    return [Problem(f"architecture.{key}", message) for key in DEFAULTS if getattr(settings, key) is not None]
