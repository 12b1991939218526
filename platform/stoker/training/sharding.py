"""Weights, gradients and optimizer states that are divided among the workers, by torch's FSDP2.

A layer's weights are gathered while it computes, and its gradients are summed where they stay. Every worker therefore
makes the same number of passes: one that has fewer samples makes idle ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from stoker.tasks.abilities import can_decode, can_encode, can_write
from stoker.training.parallel import Workers
from stoker.training.reduction import reciprocal

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

FLOAT_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)
"""Layers whose weights stay in float32, also in bf16: of batches, instances, and groups of channels."""
METHODS: dict[str, Callable[[object], bool]] = {
    "decode": can_decode,
    "encode": can_encode,
    "begin": can_write,
    "write": can_write,
}
"""Methods of a network that compute with its weights as `forward` does."""


def is_sharded(value: Tensor) -> bool:
    """Return whether a worker has only a part of a tensor."""
    return hasattr(value, "to_local")  # no import: DTensor's takes half a second


def local(value: Tensor) -> Tensor:
    """Return this worker's part of a tensor."""
    part: Tensor = cast("DTensor", value).to_local() if is_sharded(value) else value
    return part


def fill(value: Tensor, content: Tensor) -> None:
    """Copy a whole tensor into one of which each worker may have only a part."""
    if not is_sharded(value):
        value.copy_(content)
        return
    mesh = cast("DTensor", value).device_mesh
    pieces, rank = torch.chunk(content, mesh.size()), mesh.get_local_rank()
    if rank < len(pieces):
        local(value).copy_(pieces[rank])


def layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers whose weights are gathered one after another: the outermost members of lists and sequences.

    Left out are those without weights, and those that share weights with others.
    """
    found = list(_members(network))
    owners: dict[int, int] = {}
    for layer in found:
        for parameter in layer.parameters():
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    inside = {id(parameter) for layer in found for parameter in layer.parameters()}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if id(parameter) in inside and not any(_contains(network, layer, name) for layer in found):
            owners[id(parameter)] = 2
    return [layer for layer in found if all(owners[id(parameter)] == 1 for parameter in layer.parameters())]


def shard(network: nn.Module, workers: Workers, precision: str) -> None:
    """Divide the weights of a network among the workers, and move them to their devices.

    Gradients are summed, never averaged: the loop divides losses by what they count. With bf16, weights are gathered in
    bfloat16, which is half of what is sent and held; each worker's own part, which the optimizer changes, and the sums
    of gradients stay in float32.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        FSDPModule,
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )

    mesh = init_device_mesh(workers.device.type, (workers.count,))
    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    whole = MixedPrecisionPolicy(cast_forward_inputs=False)
    # Their statistics are in float32; and they have too few weights for half of them to matter.
    norms = [module for module in network.modules() if isinstance(module, FLOAT_NORMS)] if precision == "bf16" else []
    for module in dict.fromkeys((*norms, *layers(network), network)):  # a norm may be a layer itself
        policy = half if precision == "bf16" and module not in norms else whole
        fully_shard(module, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
        assert isinstance(module, FSDPModule)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    for name, method in METHODS.items():
        if method(network):
            register_fsdp_forward_method(network, name)


class ShardedGradients:
    """Gradients that backward leaves summed and divided among the workers; stands in for a GradientReducer.

    Args:
        parameters: of one turn.
        workers: of the run.

    """

    defers_division = False

    def __init__(self, parameters: Sequence[nn.Parameter], workers: Workers) -> None:
        self.parameters = list(parameters)
        self._workers = workers
        self._numbers: list[Tensor] = []

    def begin(self, numbers: Sequence[Tensor]) -> None:
        """Take scalars that are summed over the workers."""
        self._numbers = list(numbers)

    def finish(self, divisor: Tensor | int | None = None) -> list[Tensor]:
        """Return the sums of the numbers; backward has summed the gradients."""
        assert divisor is None
        flat = torch.stack([number.to(self._workers.device, torch.float32) for number in self._numbers])
        return list(self._workers.sum(flat).unbind())

    def norm(self) -> Tensor:
        """Return the norm of all gradients together."""
        parts = [local(parameter.grad) for parameter in self.parameters if parameter.grad is not None]
        squares = torch.stack([torch.linalg.vector_norm(part).square() for part in parts])
        return self._workers.sum(squares.sum()).sqrt()

    def clip(self, limit: float) -> Tensor:
        """Clip the gradient to a maximum norm; return its norm before."""
        norm = self.norm()
        factor = (limit * reciprocal(norm + 1e-6)).clamp(max=1.0)
        parts = [local(parameter.grad) for parameter in self.parameters if parameter.grad is not None]
        torch._foreach_mul_(parts, factor)
        return norm


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a module with whole tensors, on the CPU; all workers call it, the first one gets it."""
    state: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        whole: Tensor = value.full_tensor() if is_sharded(value) else value
        if dist.get_rank() == 0:
            state[name] = whole.detach().cpu()
    return state


class JoinedParts(Mapping[str, Tensor]):
    """The tensors of a snapshot, of which each worker has written a part.

    Args:
        parts: the tensors of each worker, by rank.
        sharded: names of those that are divided; the first worker has the others.

    """

    def __init__(self, parts: Sequence[Mapping[str, Tensor]], sharded: Sequence[str]) -> None:
        self._parts = parts
        self._sharded = frozenset(sharded)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._sharded:
            return self._parts[0][name]
        return torch.cat([part[name] for part in self._parts])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without joining it."""
        first = self._parts[0][name]
        if name not in self._sharded:
            return tuple(first.shape)
        return (sum(len(part[name]) for part in self._parts), *first.shape[1:])


def _members(module: nn.Module) -> Iterator[nn.Module]:
    inside = isinstance(module, (nn.ModuleList, nn.Sequential))
    for child in module.children():
        if inside and _computes(child) and any(True for _ in child.parameters()):
            yield child
        else:
            yield from _members(child)


def _computes(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _contains(network: nn.Module, layer: nn.Module, name: str) -> bool:
    """Return whether a parameter of the network, by name, is inside of a layer."""
    owner: Any = network
    for part in name.split("."):
        if owner is layer:
            return True
        owner = getattr(owner, part)
    return False
