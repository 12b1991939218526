"""A user's own class: a network or a whole objective."""

import importlib
import inspect
import sysconfig
import traceback
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from stoker.architectures.inputs import example_inputs
from stoker.errors import Cause, JobError, Problem, TrainingFailed
from stoker.job.architecture.custom import Custom
from stoker.job.signature import Signature


def build(settings: Custom, signature: Signature) -> nn.Module:
    """Build the user's class with the job's settings.

    A parameter called `signature` gets the shapes of a sample and an output.

    Returns:
        The user's objective itself; a network wrapped in the interface of all networks.

    Raises:
        JobError: there is no such class, or it does not take the settings.
        TrainingFailed: USER_CODE, with the user's traceback.

    """
    made = user_class(settings.class_name)
    taken = inspect.signature(made).parameters
    arguments: dict[str, object] = dict(settings.settings)
    if "signature" in taken:
        arguments["signature"] = signature
    if problems := _argument_problems(made, taken, arguments):
        raise JobError(problems)
    try:
        module: nn.Module = made(**arguments)
        if is_objective_class(made):
            return module
        network = Network(module)
        if any(is_lazy(parameter) for parameter in module.parameters()):
            _take_shapes(network, signature)
    except Exception as error:
        raise user_failure(error) from error
    return network


def _take_shapes(network: nn.Module, signature: Signature) -> None:
    """Run one sample of zeros through lazy layers, which take their shapes from it; nothing else is learned."""
    network.eval()
    with torch.no_grad():
        network(example_inputs(signature, 1, "cpu"))
    network.train()


def user_class(name: str) -> type[nn.Module]:
    """Import a class by its name `module:Class`.

    Raises:
        JobError: there is no such class.
        TrainingFailed: USER_CODE, with the user's traceback.

    """
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.split(".")[0]:
            raise user_failure(error) from error
        message = f"no module '{module_name}' in environment.code (default: the job file's folder)"
        raise JobError([Problem("architecture.class", message)]) from error
    except Exception as error:
        raise user_failure(error) from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        classes = [n for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, nn.Module)]
        there = f"; it has {', '.join(classes)}" if classes else ""
        message = f"module '{module_name}' has no torch module '{class_name}'{there}"
        raise JobError([Problem("architecture.class", message)])
    return found


def is_objective_class(made: type[nn.Module]) -> bool:
    """Return whether a class is an objective; by name, since architectures must not import tasks."""
    return any(base.__module__ == "stoker.tasks.objective" for base in made.__mro__)


LIBRARIES = (
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    str(Path(__file__).parents[1]),
)
"""Folders of Python's, of installed and of Stoker's own modules."""
ABILITIES = ("sample", "decode", "encode", "begin", "write", "align")
"""Methods beyond `forward` that predict, evaluate, generate and the served model may use."""


class Network(nn.Module):
    """A user's network in the interface of all networks."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._names = [name for name in inspect.signature(network.forward).parameters if name != "self"]
        for ability in ABILITIES:
            if inspect.ismethod(method := getattr(network, ability, None)):
                setattr(self, ability, method)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Pass the inputs by parameter name, all of them to `inputs`; else by position."""
        if self._names == ["inputs"]:
            output: Tensor = self.network(inputs)
        elif set(self._names) <= inputs.keys():
            output = self.network(**{name: inputs[name] for name in self._names})
        else:
            output = self.network(*[tensor for tensor in inputs.values() if tensor.shape[1:].numel()])
        return output


def user_failure(error: Exception) -> TrainingFailed:
    """Return an error in the user's code as a USER_CODE failure: its location first, then the user's traceback.

    The location is the last line that is not of a library, since the cause of a library's complaint is mostly there.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    frames = [f for f in frames if not f.filename.startswith("<frozen importlib")]
    own = [f for f in frames if not f.filename.startswith(LIBRARIES)]
    last = (own or frames)[-1] if frames else None
    place = f"{last.filename}:{last.lineno}: " if last else ""
    text = "".join(traceback.format_list(frames)).rstrip()
    return TrainingFailed(Cause.USER_CODE, f"{place}{type(error).__name__}: {error}\n{text}")


def _argument_problems(
    made: type[nn.Module], taken: Mapping[str, inspect.Parameter], given: Mapping[str, object]
) -> list[Problem]:
    """Compare the job's settings with the parameters of the class."""
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values()):
        return []
    names = [name for name in taken if name != "signature"]
    problems = [
        Problem(
            f"architecture.{name}", f"{made.__name__} takes no '{name}' (it takes: {', '.join(names) or 'nothing'})"
        )
        for name in given
        if name not in taken
    ]
    for name, parameter in taken.items():
        needed = parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_POSITIONAL
        if needed and name not in given:
            problems.append(Problem(f"architecture.{name}", f"{made.__name__} needs a value for '{name}'"))
    return problems
