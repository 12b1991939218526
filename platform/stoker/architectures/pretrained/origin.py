"""Where the weights of a pretrained model came from, as it is saved with a trained one."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from stoker.datasets.model_files import weights_digest
from stoker.job.saved_model import ORIGIN


class Origin:
    """The source of a pretrained model.

    Args:
        model: as the job names it.
        folder: of its files; None for a model whose weights are all saved.

    """

    def __init__(self, model: str, folder: Path | None) -> None:
        self._model = model
        self._folder = folder

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the weights."""
        assert self._folder is not None
        return weights_digest(self._folder)

    def write(self, folder: Path, config: Any, digest: str) -> None:
        """Write the model's own description, and its name with the SHA-256 of weights that are not saved."""
        config.save_pretrained(folder)
        content = {"model": self._model, "sha256": digest}
        (folder / ORIGIN).write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_origin(folder: Path) -> str:
    """Return the SHA-256 of the weights that a saved model lacks; empty if it has all of them."""
    return str(json.loads((folder / ORIGIN).read_text(encoding="utf-8"))["sha256"])
