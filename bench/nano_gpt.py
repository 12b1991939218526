"""A decoder and its training loop, written out as nanoGPT has them: the peer of the benchmark of a decoder."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from plain_loop import SameOrder
from stoker.architectures.network import build_network
from stoker.architectures.texts.decoder import Decoder
from stoker.datasets.columns import Windows
from stoker.job.architecture.transformer import Transformer
from stoker.training.preparation import Prepared

BETAS, DECAY, CLIP, WARMUP = (0.9, 0.99), 0.1, 1.0, 0.05
LOGGED = 10
"""Steps of which one loss is read from the device."""


class Attention(nn.Module):
    """Causal attention; queries, keys and values come from one layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.n_head = heads

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, C) from (B, T, C)."""
        rows, length, width = x.size()
        q, k, v = self.c_attn(x).split(width, dim=2)
        k = k.view(rows, length, self.n_head, width // self.n_head).transpose(1, 2)
        q = q.view(rows, length, self.n_head, width // self.n_head).transpose(1, 2)
        v = v.view(rows, length, self.n_head, width // self.n_head).transpose(1, 2)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = y.transpose(1, 2).contiguous().view(rows, length, width)
        result: Tensor = self.c_proj(y)
        return result


class Block(nn.Module):
    """Attention and two linear layers, each normalised before."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = nn.GELU()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, T, C) from (B, T, C)."""
        x = x + self.attn(self.ln_1(x))
        result: Tensor = x + self.c_proj(self.gelu(self.c_fc(self.ln_2(x))))
        return result


class Gpt(nn.Module):
    """Embeddings, blocks, a norm, and the embeddings again as the output layer."""

    def __init__(self, vocabulary: int, block_size: int, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(block_size, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, idx: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of (B, T) tokens."""
        pos = torch.arange(0, idx.size(1), dtype=torch.long)
        x = self.wte(idx) + self.wpe(pos)
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return functional.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=0)


def same_weights(decoder: Decoder) -> Gpt:
    """Return nanoGPT's network with the weights of a decoder of ours."""
    assert decoder.places is not None
    vocabulary, width = decoder.embedding.weight.shape
    heads = width // decoder.size_of_head
    made = Gpt(vocabulary, decoder.length, len(decoder.blocks), heads, width)
    names = {
        "norm_attention": "ln_1", "attention.mixed": "attn.c_attn", "attention.output": "attn.c_proj",
        "norm_inner": "ln_2", "widen": "c_fc", "narrow": "c_proj",
    }  # fmt: skip
    state = {"wte.weight": decoder.embedding.weight, "lm_head.weight": decoder.embedding.weight}
    state |= {"wpe.weight": decoder.places, "ln_f.weight": decoder.norm.weight, "ln_f.bias": decoder.norm.bias}
    for name, value in decoder.blocks.named_parameters():
        number, _, rest = name.partition(".")
        layer, _, kind = rest.rpartition(".")
        state[f"h.{number}.{names[layer]}.{kind}"] = value
    made.load_state_dict({name: value.detach().clone() for name, value in state.items()})
    return made


def nano_steps(prepared: Prepared) -> Iterator[Tensor | None]:
    """Train as nanoGPT does; yield the loss of each step, and None after each epoch."""
    torch.manual_seed(prepared.job.training.seed)
    assert isinstance(prepared.architecture, Transformer)
    decoder = build_network(prepared.architecture, prepared.data.fields.signature)
    assert isinstance(decoder, Decoder)
    model = same_weights(decoder)
    column = prepared.data.parts["train"].inputs["text"]
    assert isinstance(column, Windows)
    data, starts = column.values.numpy().astype(np.uint16), column.starts.numpy()
    length, size, steps = len(column.steps), prepared.batch_size, prepared.steps
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=BETAS, fused=False)
    order = SameOrder(len(starts), prepared.job.training.seed)
    model.train()
    warmup, done = round(WARMUP * steps), 0
    while True:
        places = list(order)
        for begin in range(0, len(places), size):
            rate = 1e-3 * _share(done, warmup, steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            ix = starts[places[begin : begin + size]]
            x = torch.stack([torch.from_numpy(data[i : i + length].astype(np.int64)) for i in ix])
            y = torch.stack([torch.from_numpy(data[i + 1 : i + 1 + length].astype(np.int64)) for i in ix])
            loss = model(x, y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if done % LOGGED == 0:
                loss.item()
            done += 1
            yield loss.detach()
        yield None


def _share(step: int, warmup: int, steps: int) -> float:
    """Return the share of the learning rate at a step: the platform's warm-up and cosine."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
