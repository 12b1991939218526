"""Blocks of transformers: attention and feed-forward layers, normalised before (Xiong et al. 2020)."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.layers import StochasticDepth

ROTARY_BASE = 10_000.0
"""Longest wave of rotary positions, in words, divided by 2 pi (Su et al. 2021)."""
DEVIATION = 0.02
"""Standard deviation of the initial weights (GPT-2)."""


class Cache:
    """Keys and values of the places that a layer has read, so that each next place is computed alone."""

    def __init__(self, rows: int, heads: int, length: int, size: int, like: Tensor) -> None:
        self._held = like.new_zeros(2, rows, heads, length, size)
        self.length = 0
        """Places read so far."""

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, heads, n, size) keys and values; return all (B, heads, length, size)."""
        end = self.length + key.shape[2]
        self._held[0, :, :, self.length : end] = key
        self._held[1, :, :, self.length : end] = value
        self.length = end
        return self._held[0, :, :, :end], self._held[1, :, :, :end]

    def choose(self, rows: Tensor) -> None:
        """Replace row i by row `rows[i]`, such as of the beams that go on."""
        read = self._held[:, :, :, : self.length].index_select(1, rows)
        self._held = self._held.new_empty(2, len(rows), *self._held.shape[2:])
        self._held[:, :, :, : self.length] = read


class Attention(nn.Module):
    """Scaled dot-product attention of several heads to the same sequence.

    Args:
        width: of states and output.
        heads: side by side; they divide the width.
        key_heads: heads of keys and values, each for a group of heads.
        dropout: share of the attended places that are left out while training.

    """

    def __init__(self, width: int, heads: int, key_heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.key_heads, self.dropout = heads, key_heads, dropout
        self.mixed = nn.Linear(width, (heads + 2 * key_heads) * (width // heads))
        self.output = nn.Linear(width, width)

    def forward(
        self,
        states: Tensor,
        seen: Tensor | None = None,
        turns: "Turns | None" = None,
        causal: bool = False,
        cache: Cache | None = None,
    ) -> Tensor:
        """Attend to the places of the same sequence.

        Args:
            states: (B, length, width).
            seen: (B or 1, 1, length or 1, length) whether a place may be attended to; None: all may.
            turns: by which queries and keys are turned; None: they are not.
            causal: whether each place sees itself and those before it alone; without `seen`.
            cache: of the places before these, which it is added to.

        Returns:
            (B, length, width)

        """
        query, key, value = self._projected(states, turns)
        if cache is not None:
            key, value = cache.add(key, value)
        attended = attention(query, key, value, seen, self.dropout if self.training else 0.0, causal)
        result: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return result

    def weights(
        self,
        states: Tensor,
        seen: Tensor | None = None,
        turns: "Turns | None" = None,
        causal: bool = False,
        cache: None = None,
    ) -> Tensor:
        """Return (B, heads, length, length) how much each place takes of each; the arguments of `forward`, no cache."""
        query, key, _value = self._projected(states, turns)
        return attention_weights(query, key, seen, causal)

    def _projected(self, states: Tensor, turns: "Turns | None") -> tuple[Tensor, Tensor, Tensor]:
        mixed = self.mixed(states).unflatten(2, (self.heads + 2 * self.key_heads, -1)).transpose(1, 2)
        query, key, value = mixed.split((self.heads, self.key_heads, self.key_heads), dim=1)
        if turns is not None:
            query, key = turned(query, turns), turned(key, turns)
        return query, key, value


def attention(
    query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, dropout: float = 0.0, causal: bool = False
) -> Tensor:
    """Return (B, heads, length, size) attended values, in the type of the queries; keys may have fewer heads.

    On a CPU it is computed in float32: torch's kernel takes four times as long for bfloat16, backward eight times.
    """
    grouped, kind = query.shape[1] != key.shape[1], query.dtype
    widened = kind != torch.float32 and query.device.type == "cpu"
    if widened:
        query, key, value = query.float(), key.float(), value.float()
    with torch.autocast("cpu", enabled=False) if widened else nullcontext():
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, dropout_p=dropout, is_causal=causal, enable_gqa=grouped
        )
    return attended.to(kind) if widened else attended


def attention_weights(query: Tensor, key: Tensor, seen: Tensor | None, causal: bool = False) -> Tensor:
    """Return (B, heads, length, key length) float32 weights by which `attention` averages values: to be looked at.

    The kernel of `attention` does not return them, so that they are computed again.
    """
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1).float()
    with torch.autocast(query.device.type, enabled=False):
        scores = query.float() @ key.transpose(2, 3) / query.shape[3] ** 0.5
    if causal:
        seen = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).tril()
    if seen is not None:
        scores = scores.masked_fill(~seen, float("-inf"))
    weights: Tensor = scores.softmax(dim=3)
    return weights


def looked_at(network: nn.Module, inputs: Mapping[str, Tensor], layer: Tensor | nn.Module) -> Tensor:
    """Return the weights of an attention layer of a network, with what it is given in a pass over some inputs."""
    assert isinstance(layer, nn.Module)
    given: list[tuple[Any, Any]] = []
    hook = layer.register_forward_pre_hook(
        lambda _, arguments, named: given.append((arguments, named)), with_kwargs=True
    )
    try:
        network(inputs)
    finally:
        hook.remove()
    arguments, named = given[-1]
    weights: Tensor = layer.weights(*arguments, **named)  # type: ignore[operator] # attention of either kind
    return weights


class Block(nn.Module):
    """Attention and a feed-forward layer, each with a shortcut around it; arguments as for `Attention`.

    Args:
        inner: width inside the feed-forward layer.
        left_out: share of the samples for which each of both is left out while training.

    """

    def __init__(
        self, width: int, heads: int, key_heads: int, inner: int, dropout: float, left_out: float = 0.0
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, key_heads, dropout)
        self.norm_inner = nn.LayerNorm(width)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.dropout = (
            nn.Sequential(nn.Dropout(dropout), StochasticDepth(left_out)) if left_out else nn.Dropout(dropout)
        )

    def forward(
        self,
        states: Tensor,
        seen: Tensor | None = None,
        turns: "Turns | None" = None,
        causal: bool = False,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return (B, length, width) from (B, length, width); the other arguments as for `Attention`."""
        states = states + self.dropout(self.attention(self.norm_attention(states), seen, turns, causal, cache))
        inner = functional.gelu(self.widen(self.norm_inner(states)))
        result: Tensor = states + self.dropout(self.narrow(inner))
        return result


Turns = tuple[Tensor, Tensor]
"""Cosine and sine, (length, size // 2) each, of the angles that queries and keys of each place are turned by."""


def rotary_turns(places: Tensor, size: int) -> Turns:
    """Return angles that grow with the place, for heads of a size (rotary positions)."""
    half = size // 2
    speed = ROTARY_BASE ** (-torch.arange(half, device=places.device, dtype=torch.float32) / max(half, 1))
    angles = places.to(torch.float32).unsqueeze(1) * speed
    return angles.cos(), angles.sin()


def turned(heads: Tensor, turns: Turns) -> Tensor:
    """Turn each pair of numbers of each head.

    Args:
        heads: (B, heads, length, size) queries or keys.
        turns: of each place.

    Returns:
        The same shape and type; an odd last number is left as it is.

    """
    cosine, sine = turns[0].to(heads.dtype), turns[1].to(heads.dtype)
    half = cosine.shape[-1]
    first, second, rest = heads[..., :half], heads[..., half : 2 * half], heads[..., 2 * half :]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine, rest], dim=-1)


def start_small(blocks: nn.ModuleList) -> None:
    """Initialise the weights of blocks as GPT-2: normal, and smaller where a shortcut is added to."""
    for name, parameter in blocks.named_parameters():
        if parameter.ndim == 2:
            ends = name.endswith(("output.weight", "narrow.weight"))
            nn.init.normal_(parameter, std=DEVIATION / (2 * len(blocks)) ** 0.5 if ends else DEVIATION)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
