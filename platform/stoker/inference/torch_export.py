"""Writes a network as a program of torch.export, which torch runs without our code."""

import io
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from stoker.architectures.inputs import example_inputs
from stoker.errors import JobError, Problem
from stoker.inference.model import Model
from stoker.job.saved_model import ASSETS, FIELDS
from stoker.job.signature import WRITTEN, PairInput, PiecesInput, Signature, TextInput, WordsInput

PROGRAM = "network.pt2"
TRACED, TRIED = 3, 5
"""Samples of the batch that is traced, and of another one to compare."""
TOLERANCE = 1e-5


class _Program(nn.Module):
    """A network whose only argument has a name, as torch.export calls it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        outputs: Tensor = self.network(inputs)
        return outputs


def write_program(model: Model, folder: Path) -> str:
    """Write network.pt2 for batches of any size and texts of any length, and the fields; return code that loads it.

    The program takes encoded samples, as the fields of fields.json encode them.

    Raises:
        JobError: torch.export cannot trace the network, or not for all sizes.

    """
    signature = model.fields.signature
    network = _Program(model.network.eval())
    inputs = example_inputs(signature, TRACED, "cpu")
    sizes = {name: _sizes(signature, name) for name in inputs}
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(network, (inputs,), dynamic_shapes=(sizes,), strict=False)
            _compare(program.module(), network, signature)
    except Exception as error:  # torch.export raises whatever its parts raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        assert model.job.architecture is not None
        message = f"torch.export cannot write this network ({model.job.architecture.family}): {reason}"
        raise JobError([Problem("", f"{message}; its weights are in {model.folder}")]) from error
    folder.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, folder / PROGRAM)
    shutil.copy(model.folder / FIELDS, folder)
    if (model.folder / ASSETS).is_dir():
        shutil.copytree(model.folder / ASSETS, folder / ASSETS)
    lines = [f'    "{name}": torch.{_written(each)},' for name, each in inputs.items()]
    loaded = f'network = torch.export.load("{folder / PROGRAM}").module()'
    return "\n".join(["import torch", loaded, "outputs = network({  # any number of samples", *lines, "})"])


def _sizes(signature: Signature, name: str) -> dict[int, object]:
    """Return the dimensions of an input that vary."""
    auto = torch.export.Dim.AUTO
    shape = signature.inputs.get(name)
    long = name == WRITTEN or isinstance(shape, TextInput | WordsInput | PairInput | PiecesInput)
    return {0: auto, 1: auto} if long else {0: auto}


def _compare(program: nn.Module, network: nn.Module, signature: Signature) -> None:
    """Raise ValueError if a program computes something else for another batch, whose texts are shorter."""
    inputs = example_inputs(signature, TRIED, "cpu")
    for name, each in inputs.items():
        if 1 in _sizes(signature, name) and each.shape[1] > 2:
            inputs[name] = each[:, :-1]
    if not torch.allclose(program(inputs), network(inputs), TOLERANCE, TOLERANCE):
        raise ValueError("the program does not compute the same")


def _written(example: Tensor) -> str:
    """Return the code that makes an input."""
    kind = "float32" if example.is_floating_point() else "int64"
    return f"zeros({', '.join(map(str, example.shape))}, dtype=torch.{kind})"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the graphs that torch prints and logs where it fails out of the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
