"""Blocks of transformers: attention and feed-forward layers, normalised before (Xiong et al. 2020)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

ROTARY_BASE = 10_000.0
"""Longest wave of rotary positions, in words, divided by 2 pi (Su et al. 2021)."""
DEVIATION = 0.02
"""Standard deviation of the initial weights (GPT-2)."""


class Attention(nn.Module):
    """Scaled dot-product attention of several heads.

    Args:
        width: of queries and output.
        heads: side by side; they divide the width.
        key_heads: heads of keys and values, each for a group of heads.
        dropout: share of the attended places that are left out while training.

    """

    def __init__(self, width: int, heads: int, key_heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.key_heads, self.dropout = heads, key_heads, dropout
        size = width // heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * key_heads * size)
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, seen: Tensor | None = None, angles: Tensor | None = None) -> Tensor:
        """Attend to the places of the same sequence.

        Args:
            states: (B, length, width).
            seen: (B or 1, 1, length or 1, length) whether a place may be attended to; None: all may.
            angles: by which queries and keys are turned; see `turned`. None: they are not.

        Returns:
            (B, length, width)

        """
        query = self.query(states).unflatten(2, (self.heads, -1)).transpose(1, 2)
        mixed = self.key_value(states).unflatten(2, (2, self.key_heads, -1)).permute(2, 0, 3, 1, 4)
        key, value = mixed.unbind(0)
        if angles is not None:
            query, key = turned(query, angles), turned(key, angles)
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, dropout_p=dropout, enable_gqa=self.key_heads != self.heads
        )
        result: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    """Attention and a feed-forward layer, each with a shortcut around it; arguments as for `Attention`.

    Args:
        inner: width inside the feed-forward layer.

    """

    def __init__(self, width: int, heads: int, key_heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, key_heads, dropout)
        self.norm_inner = nn.LayerNorm(width)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, seen: Tensor | None = None, angles: Tensor | None = None) -> Tensor:
        """Return (B, length, width) from (B, length, width); `seen` and `angles` as for `Attention`."""
        states = states + self.dropout(self.attention(self.norm_attention(states), seen, angles))
        inner = functional.gelu(self.widen(self.norm_inner(states)))
        result: Tensor = states + self.dropout(self.narrow(inner))
        return result


def rotary_angles(places: Tensor, size: int) -> Tensor:
    """Return (length, size // 2) angles that grow with the place, for heads of a size (rotary positions)."""
    half = size // 2
    speed = ROTARY_BASE ** (-torch.arange(half, device=places.device, dtype=torch.float32) / max(half, 1))
    return places.to(torch.float32).unsqueeze(1) * speed


def turned(heads: Tensor, angles: Tensor) -> Tensor:
    """Turn each pair of numbers of each head by an angle.

    Args:
        heads: (B, heads, length, size) queries or keys.
        angles: (length, size // 2) of each place.

    Returns:
        The same shape and type; an odd last number is left as it is.

    """
    half = angles.shape[-1]
    cosine, sine = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
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
