"""What a network can do beyond `forward`: predict, evaluate, generate and the served model follow these protocols.

A network has an ability if it has a method with the name and the parameter names of the protocol: other methods called
`sample`, `decode` or `encode`, and layers of these names, are the network's own matter.
"""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from torch import Tensor

if TYPE_CHECKING:
    from stoker.tasks.objective import NoiseLike


class CanSample(Protocol):
    """Makes new samples."""

    def sample(self, classes: Tensor | None, noise: "NoiseLike") -> Tensor:
        """Return (B, channels, height, width) standardised images, or rows of a table, one a row of the noise.

        Rows are (B, numbers + categories): `numbers` and `categories` as batches hold them.

        Args:
            classes: (B,) class numbers to make samples of; None where the data has no classes.
            noise: of B rows.

        """


class CanUnfold(CanSample, Protocol):
    """Makes new samples step by step."""

    sampling_steps: int
    """Number of steps."""
    guidance: float
    """How much more of its class a sample has than the data; 1: as much."""

    def unfold(self, classes: Tensor | None, noise: "NoiseLike") -> Tensor:
        """Return (steps + 1, B, ...) what `sample` would return after each step, from noise alone to the last one."""


class CanDecode(Protocol):
    """Answers otherwise than by one forward pass, such as step by step or as the mean of many passes."""

    def decode(self, inputs: Mapping[str, Tensor], noise: "NoiseLike") -> Tensor:
        """Return (B, ...) outputs for metrics and predictions, in place of those of `forward`."""


class CanEncode(Protocol):
    """Compresses a sample to a code."""

    def encode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, width) codes."""


class CanContinue(Protocol):
    """Reads a text token by token, and remembers what it has read."""

    def begin(self, rows: int) -> Any:
        """Return the memory of so many rows that have read nothing."""

    def read(self, tokens: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Return (B, n, vocabulary) logits of what follows each of (B, n) tokens, and the memory behind them.

        Only the last ones are sure to be there: a network may leave out those of tokens that it has to forget.
        """


class CanCarry(CanContinue, Protocol):
    """Remembers a fixed number of values, which go on from one batch to the next."""

    carried_shape: tuple[int, ...]
    """Of the memory (B, *carried_shape) float32."""


class Memory(Protocol):
    """What a network has read and written of some texts."""

    def choose(self, rows: Tensor) -> None:
        """Replace row i by row `rows[i]`; there may be more or fewer rows than before."""


class CanWrite(Protocol):
    """Reads a text at once, and writes another one token by token."""

    def begin(self, inputs: Mapping[str, Tensor]) -> Memory:
        """Return the memory of texts that are read, of which nothing is written yet."""

    def write(self, tokens: Tensor, memory: Any) -> tuple[Tensor, Memory]:
        """Write (B,) tokens; return (B, vocabulary) logits of what follows them, and the memory behind them."""


class CanAlign(Protocol):
    """Knows which part of a text it looks at while it writes another one."""

    def align(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, n, source length) the weight of each token read for what follows each written one."""


class CanAttend(Protocol):
    """Knows which tokens of a text it looks at while it reads it."""

    def attend(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return (B, heads, length, length) how much each token (row) takes of each: shares, none of padding."""


class CanReload(Protocol):
    """Has weights of a pretrained model that training may leave as they are: they are read from there again."""

    def unchanged_weights(self) -> frozenset[str]:
        """Return their names in the state dict; neither checkpoints nor saved models hold them."""

    def origin_digest(self) -> str:
        """Return the SHA-256 of the model's weights; empty where none is left as it is."""

    def save_origin(self, folder: Path) -> None:
        """Write what the network is rebuilt from, beside the weights of a saved model."""


class CanExport(Protocol):
    """Can be written in a format that other programs load."""

    def export(self, folder: Path, tokenizer: str, merge: bool) -> str:
        """Write the network and its tokenizer to a folder; return the Python code that loads them.

        Args:
            folder: to write to.
            tokenizer: the content of its file.
            merge: whether to add what adapters add to the weights below them.

        """


class CanJudge(Protocol):
    """Says how odd samples are, which it learns from normal ones alone."""

    threshold: Tensor
    """A buffer of one number, 1 at first: what its `forward` divides scores by, so that those of anomalies exceed 1."""

    def losses(self, inputs: Mapping[str, Tensor], classes: Tensor, noise: "NoiseLike") -> Tensor:
        """Return (B,) losses of samples, by the (B,) numbers of their normal classes."""


class CanFind(Protocol):
    """Finds objects, with losses of its own."""

    def box_losses(self, inputs: Mapping[str, Tensor], target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return its output, and (B,) losses of the classes and of the boxes, of which each depends on one image."""


class CanRedraw(Protocol):
    """Draws images again, from what it keeps of them."""

    def redraw(self, inputs: Mapping[str, Tensor], noise: "NoiseLike") -> tuple[Tensor, Tensor, Tensor]:
        """Return what it is given of standardised images, what it draws, both in their shape, and (B,) losses."""


class CanMemorise(Protocol):
    """Compares samples with those of the training part."""

    def memorise(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Replace what it knows of the training samples by these."""


class IsWide(Protocol):
    """Has layers so wide that fewer samples are computed at once without gradients."""

    activations: int
    """Numbers that its widest layer puts out for a token of a text."""


def can_sample(network: object) -> TypeGuard[CanSample]:
    """Return whether a network makes new samples."""
    return _has(network, "sample", "classes", "noise")


def can_unfold(network: object) -> TypeGuard[CanUnfold]:
    """Return whether a network makes new samples step by step."""
    return can_sample(network) and _has(network, "unfold", "classes", "noise")


def can_decode(network: object) -> TypeGuard[CanDecode]:
    """Return whether a network answers otherwise than by one forward pass."""
    return _has(network, "decode", "inputs", "noise")


def can_encode(network: object) -> TypeGuard[CanEncode]:
    """Return whether a network compresses samples to codes."""
    return _has(network, "encode", "inputs")


def can_continue(network: object) -> TypeGuard[CanContinue]:
    """Return whether a network remembers what it has read of a text."""
    return _has(network, "begin", "rows") and _has(network, "read", "tokens", "memory")


def can_carry(network: object) -> TypeGuard[CanCarry]:
    """Return whether a network's memory goes on from batch to batch."""
    return can_continue(network) and hasattr(network, "carried_shape")


def can_write(network: object) -> TypeGuard[CanWrite]:
    """Return whether a network writes texts token by token."""
    return _has(network, "begin", "inputs") and _has(network, "write", "tokens", "memory")


def can_align(network: object) -> TypeGuard[CanAlign]:
    """Return whether a network knows what it looks at."""
    return _has(network, "align", "inputs")


def can_attend(network: object) -> TypeGuard[CanAttend]:
    """Return whether a network knows which tokens it looks at."""
    return _has(network, "attend", "inputs")


def can_reload(network: object) -> TypeGuard[CanReload]:
    """Return whether a network has weights of a pretrained model."""
    return (
        _has(network, "unchanged_weights") and _has(network, "origin_digest") and _has(network, "save_origin", "folder")
    )


def can_export(network: object) -> TypeGuard[CanExport]:
    """Return whether a network can be written in a format of others."""
    return _has(network, "export", "folder", "tokenizer", "merge")


def can_judge(network: object) -> TypeGuard[CanJudge]:
    """Return whether a network says how odd samples are."""
    return _has(network, "losses", "inputs", "classes", "noise") and isinstance(
        getattr(network, "threshold", None), Tensor
    )


def can_find(network: object) -> TypeGuard[CanFind]:
    """Return whether a network finds objects with losses of its own."""
    return _has(network, "box_losses", "inputs", "target")


def can_redraw(network: object) -> TypeGuard[CanRedraw]:
    """Return whether a network draws images again."""
    return _has(network, "redraw", "inputs", "noise")


def can_memorise(network: object) -> TypeGuard[CanMemorise]:
    """Return whether a network compares samples with those of the training part."""
    return _has(network, "memorise", "batches")


def is_wide(network: object) -> TypeGuard[IsWide]:
    """Return whether a network limits how many samples are computed at once."""
    return isinstance(getattr(network, "activations", None), int)


def decoded(network: object, inputs: Mapping[str, Tensor], noise: "NoiseLike", output: Tensor) -> Tensor:
    """Return what a network decodes, or the output of its forward pass where it has only that."""
    return network.decode(inputs, noise) if can_decode(network) else output


def _has(network: object, name: str, *parameters: str) -> bool:
    method = getattr(network, name, None)
    return inspect.ismethod(method) and tuple(inspect.signature(method).parameters) == parameters
