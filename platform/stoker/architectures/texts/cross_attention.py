"""Blocks of decoders that also attend to another text, which an encoder has read."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.architectures.attention import Attention, Cache, Turns, attention, attention_weights


class CrossCache:
    """What one block has read: the places written so far, and the keys and values of the source, computed once.

    Args:
        written: of the places before the next one.

    """

    def __init__(self, written: Cache) -> None:
        self.written = written
        self.source: tuple[Tensor, Tensor] | None = None

    def choose(self, rows: Tensor, same_sources: bool) -> None:
        """Replace row i by row `rows[i]`, which may be known to have the same source."""
        self.written.choose(rows)
        if self.source is not None and not same_sources:
            key, value = self.source
            self.source = key.index_select(0, rows), value.index_select(0, rows)


class CrossAttention(nn.Module):
    """Scaled dot-product attention of several heads to another sequence; arguments as for `Attention`."""

    def __init__(self, width: int, heads: int, key_heads: int) -> None:
        super().__init__()
        self.heads, self.key_heads = heads, key_heads
        self.query = nn.Linear(width, width)
        self.mixed = nn.Linear(width, 2 * key_heads * (width // heads))
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, source: Tensor, there: Tensor, cache: CrossCache | None = None) -> Tensor:
        """Attend to the places of another sequence.

        Args:
            states: (B, length, width).
            source: (B, source length, width), not read again where a cache has its keys.
            there: (B, 1, 1, source length) whether a place may be attended to.
            cache: that keeps keys and values for the next call.

        Returns:
            (B, length, width)

        """
        query = self._query(states)
        key, value = cache.source if cache is not None and cache.source else self._keys_and_values(source)
        if cache is not None:
            cache.source = key, value
        attended = attention(query, key, value, there)
        result: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return result

    def weights(self, states: Tensor, source: Tensor, there: Tensor, cache: None = None) -> Tensor:
        """Return (B, heads, length, source length) how much each place takes of each; as for `forward`, no cache."""
        return attention_weights(self._query(states), self._keys_and_values(source)[0], there)

    def _query(self, states: Tensor) -> Tensor:
        query: Tensor = self.query(states).unflatten(2, (self.heads, -1)).transpose(1, 2)
        return query

    def _keys_and_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        mixed = self.mixed(source).unflatten(2, (2 * self.key_heads, -1)).transpose(1, 2)
        key, value = mixed.chunk(2, dim=1)
        return key, value


class CrossBlock(nn.Module):
    """Causal attention, attention to the source and a feed-forward layer, each with a shortcut around it.

    Args:
        inner: width inside the feed-forward layer; the others as for `Attention`.

    """

    def __init__(self, width: int, heads: int, key_heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, key_heads, dropout=0.0)  # costs more than the attention itself
        self.norm_source = nn.LayerNorm(width)
        self.source = CrossAttention(width, heads, key_heads)
        self.norm_inner = nn.LayerNorm(width)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Tensor, source: Tensor, there: Tensor, turns: Turns | None, cache: CrossCache | None = None
    ) -> Tensor:
        """Return (B, length, width) from (B, length, width); with a cache, of one place behind those that it has."""
        written = cache.written if cache is not None else None
        own = self.attention(self.norm_attention(states), None, turns, written is None, written)
        states = states + self.dropout(own)
        states = states + self.dropout(self.source(self.norm_source(states), source, there, cache))
        inner = functional.gelu(self.widen(self.norm_inner(states)))
        result: Tensor = states + self.dropout(self.narrow(inner))
        return result


def first_place(there: Tensor) -> Tensor:
    """Return (B, length) whether a place may be attended to, with the first one of a text that has none.

    Attention to nothing is not a number.
    """
    places = torch.arange(there.shape[1], device=there.device)
    return there | ((places == 0) & ~there.any(dim=1, keepdim=True))
