"""What a job will do, worked out before anything starts: on torch's meta device, with the real data's shapes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from stoker.architectures.custom import user_failure
from stoker.architectures.inputs import example_inputs
from stoker.architectures.network import build_network, network_notes, parameter_count
from stoker.errors import JobError
from stoker.job.architecture.custom import Custom
from stoker.job.job import Job
from stoker.job.signature import (
    CategoriesInput,
    ImageInput,
    Input,
    NumbersInput,
    PairInput,
    PiecesInput,
    Signature,
    TextInput,
    WordsInput,
)
from stoker.planning.memory import MIB, Memory, Size, exchange_mib, memory_of, size_of
from stoker.planning.place import cluster_notes, counted, gpus_of_worker, place_of, resource_notes, resource_problems
from stoker.planning.sweep import SweepPlan, plan_sweep, room_problems
from stoker.planning.tokens import TokenPlan, plan_tokens
from stoker.tasks.abilities import can_reload
from stoker.tasks.objective import Objective
from stoker.training.preparation import Prepared, prepare
from stoker.training.transfer import (
    INNER,
    fitting_names,
    nothing_fits,
    other_normalisation,
    otherwise_normalised,
    saved_shapes,
    tuned_weights,
)

SHOWN_NEW = 4
"""Names of weights that a plan shows."""
SMALL_NETWORK = 5_000_000
"""Parameters up to which a trace with memory costs less than one without."""


@dataclass(frozen=True)
class Layer:
    """One layer of the network."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """Of its output for one sample."""
    parameters: int


@dataclass(frozen=True)
class Plan:
    """What `plan` prints and `submit` acts on."""

    job: Job
    """The job with every default that follows from the data."""
    inputs: str
    """Of the network, in words."""
    layers: tuple[Layer, ...]
    parameters: int
    trained: int
    """Parameters that training changes."""
    memory_mib: float
    """Of a worker."""
    memory_parts: Memory
    exchange_mib: float
    """What a worker sends in a step; 0 for one alone."""
    memory_available_mib: float | None
    """Of this machine; None on a cluster."""
    parts: dict[str, dict[str, int]]
    """Samples of each class in each part; under "" for values."""
    steps_per_epoch: int
    steps: int
    """0 where `training.time` alone ends training."""
    epochs: int
    place: str
    notes: tuple[str, ...]
    tokens: TokenPlan | None = None
    """Of a job on texts."""
    sweep: SweepPlan | None = None
    """What is varied, and how often; the rest of the plan is that of the job as it stands."""


def make_plan(job: Job, cluster: str = "", weights: Path | None = None) -> Plan:
    """Work out a job.

    Args:
        job: the checked job.
        cluster: that will run it, in words; empty for this machine, whose cores, GPUs and memory have to suffice.
        weights: folder of the saved model of `training.start_from`; None if it is not on this machine.

    Raises:
        JobError: the data, the network or the machine does not fit; paths only, the file's lines are the caller's.

    """
    if not cluster and (problems := [*resource_problems(job.resources), *room_problems(job)]):
        raise JobError(problems)
    gpus = gpus_of_worker(job.resources, cluster)
    on_gpus = job.model_copy(update={"resources": job.resources.model_copy(update={"gpus": gpus})})
    prepared = prepare(on_gpus, start=weights)
    layers, size = _layers(prepared)
    parts = memory_of(prepared, size, _outputs(layers))
    memory = parts.total
    available = None if cluster else psutil.virtual_memory().available / MIB
    sweep = None
    if job.sweep:
        sweep = plan_sweep(prepared, memory, _memory_of_point, on_cluster=bool(cluster))
    open_length = not (prepared.job.training.epochs or prepared.job.training.steps)
    notes = [*prepared.data.notes, *network_notes(prepared.architecture, prepared.data.fields.signature)]
    if weights and not isinstance(prepared.architecture, Custom):
        notes.append(_transfer_note(prepared, weights))
    if not cluster:
        notes += [*resource_notes(prepared.job.resources), *cluster_notes(prepared.job)]
    if available is not None and memory > available:
        notes.append(f"needs about {memory:,.0f} MiB, {available:,.0f} are free: lower training.micro_batch")
    if prepared.job.training.compile and prepared.job.training.parallel != "fsdp":
        notes.append("compile: kept if three steps show it to be faster, and left out if it fails")
    if prepared.job.training.precision == "auto" and prepared.job.training.parallel != "fsdp":
        notes.append("precision: fp32 or bf16, whichever three steps show to be faster")
    return Plan(
        job=prepared.job,
        inputs=inputs_text(prepared.data.fields.signature),
        layers=layers,
        parameters=size.parameters,
        trained=size.trained,
        memory_mib=memory,
        memory_parts=parts,
        exchange_mib=exchange_mib(prepared, size),
        memory_available_mib=available,
        parts=prepared.data.counts,
        steps_per_epoch=prepared.steps_per_epoch,
        steps=0 if open_length else prepared.steps,
        epochs=0 if open_length else prepared.epochs,
        place=place_of(prepared.job.resources, cluster),
        notes=tuple(notes),
        tokens=plan_tokens(prepared),
        sweep=sweep,
    )


def inputs_text(signature: Signature) -> str:
    """Return the inputs of a network in words, such as `8 numbers, 2 categories`."""
    return ", ".join(_input_text(name, shape) for name, shape in signature.inputs.items())


def _input_text(name: str, shape: Input) -> str:
    match shape:
        case NumbersInput(width):
            return counted(width, "number")
        case CategoriesInput(sizes):
            return counted(len(sizes), "category", "categories")
        case ImageInput(channels, height, width):
            return f"{name} of {channels}x{height}x{width}"
        case TextInput(vocabulary, length):
            return f"{name} of up to {length:,} tokens out of {vocabulary:,}"
        case PiecesInput(vocabulary, length):
            return f"{name} of words with up to {length:,} tokens out of {vocabulary:,}"
        case PairInput(vocabulary, length):
            return f"{name} of a question and a text with up to {length:,} tokens out of {vocabulary:,}"
        case WordsInput(vocabulary, alphabet, length):
            return f"{name} of up to {length:,} words out of {vocabulary:,}, with characters out of {alphabet:,}"


def _layers(prepared: Prepared) -> tuple[tuple[Layer, ...], Size]:
    """Trace the network without computing it, and count its parameters.

    It is built on the meta device, where nothing is computed. Tracing convolutions there loads torch's compiler, which
    takes seconds; so a small network gets memory (of any content) for the trace.
    """
    signature = prepared.data.fields.signature
    if isinstance(prepared.architecture, Custom):
        return _custom_layers(build_network(prepared.architecture, signature), signature)
    with torch.device("meta"):
        network = build_network(prepared.architecture, signature)
    size = size_of(network)
    if size.parameters < SMALL_NETWORK:
        return trace(build_network(prepared.architecture, signature), signature, "cpu"), size
    return trace(network, signature, "meta"), size


def _transfer_note(prepared: Prepared, weights: Path) -> str:
    """Say how many weights come from a saved model.

    Raises:
        JobError: none does, or the job does not train what is tuned there.

    """
    with torch.device("meta"):
        network = build_network(prepared.architecture, prepared.data.fields.signature)
    inner = getattr(network, INNER, None)
    fitting, own = set(fitting_names(network, saved_shapes(weights))), [*network.state_dict()]
    if isinstance(inner, nn.Module):
        fitting |= {f"{INNER}.{name}" for name in fitting_names(inner, saved_shapes(weights))}
    if layer := otherwise_normalised(network, saved_shapes(weights)):
        raise JobError([other_normalisation(weights, layer)])
    if not fitting:
        raise JobError([nothing_fits(weights)])
    unchanged = network.unchanged_weights() if can_reload(network) else frozenset()
    if not fitting.isdisjoint(unchanged):
        raise JobError([tuned_weights(weights)])
    new = [name for name in own if name not in fitting and name not in unchanged]
    if not new:
        return f"training.start_from: all {len(own)} weights come from the saved model"
    named = ", ".join(new[:SHOWN_NEW]) + (", ..." if len(new) > SHOWN_NEW else "")
    return f"training.start_from: {len(fitting)} of {len(own)} weights come from the saved model; new are {named}"


def _custom_layers(module: nn.Module, signature: Signature) -> tuple[tuple[Layer, ...], Size]:
    """Look at a user's class as it is: its code may do what the meta device cannot."""
    network = module.network if isinstance(module, Objective) else module
    assert isinstance(network, nn.Module)
    try:
        return trace(network.eval(), signature, "cpu"), size_of(module)
    except Exception as error:
        if not isinstance(module, Objective):  # an objective may call its networks as it likes
            raise user_failure(error) from error
        return (), size_of(module)


def trace(network: nn.Module, signature: Signature, device: str) -> tuple[Layer, ...]:
    """Run one sample of zeros through a network, and note what its layers put out."""
    layers: list[Layer] = []

    def note(name: str, module: nn.Module, _: Any, output: Any) -> None:
        while not isinstance(output, Tensor):
            output = output[0]  # a recurrent layer also returns its last state, and packs what it read
        layers.append(Layer(name, type(module).__name__, tuple(output.shape[1:]), parameter_count(module)))

    for name, module in network.named_modules():
        if not list(module.children()) and not isinstance(module, nn.Identity):
            module.register_forward_hook(partial(note, name))
    with torch.no_grad():
        network(example_inputs(signature, 1, device))
    return tuple(layers)


def _memory_of_point(prepared: Prepared) -> float:
    """Return the memory of a worker in MiB, as for the plan of a job of its own."""
    layers, size = _layers(prepared)
    return memory_of(prepared, size, _outputs(layers)).total


def _outputs(layers: Sequence[Layer]) -> int:
    return sum(math.prod(layer.shape) for layer in layers)
