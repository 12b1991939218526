"""GPT-2 (Radford et al. 2019) as a user of the platform writes it: a network, and an objective that predicts words."""

from torch import Tensor, nn
from torch.nn import functional

from stoker.job.signature import Signature
from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective

DEVIATION = 0.02
"""Standard deviation of the initial weights."""


class Block(nn.Module):
    """Causal attention and two linear layers, each normalised before and with a shortcut around it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_hidden = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, states: Tensor) -> Tensor:
        """Return (B, length, width) from (B, length, width)."""
        attended = self.project(self._attend(self.queries_keys_values(self.norm_attention(states))))
        states = states + attended
        result: Tensor = states + self.narrow(functional.gelu(self.widen(self.norm_hidden(states))))
        return result

    def _attend(self, mixed: Tensor) -> Tensor:
        rows, length, _ = mixed.shape
        query, key, value = mixed.view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return attended.transpose(1, 2).reshape(rows, length, -1)


class Gpt2(nn.Module):
    """The decoder; the embedding of the words is also its output layer."""

    def __init__(self, layers: int, heads: int, width: int, vocabulary: int, context: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                ends_block = name.endswith(("project.weight", "narrow.weight"))
                nn.init.normal_(parameter, std=DEVIATION / (2 * layers) ** 0.5 if ends_block else DEVIATION)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, text: Tensor) -> Tensor:
        """Return (B, length, vocabulary) logits of the following words, from (B, length) word numbers."""
        states = self.words(text) + self.places.weight[: text.shape[1]]
        for block in self.blocks:
            states = block(states)
        return functional.linear(self.norm(states), self.words.weight)


class NextWord(Objective):
    """The cross-entropy of each word of a text after its first one; all texts have the same length.

    `signature` is given by the platform, the other parameters stand in the job. The label of a text is not used.
    """

    def __init__(self, signature: Signature, layers: int, heads: int, width: int, vocabulary: int) -> None:
        super().__init__()
        (text,) = signature.texts.values()
        assert text.vocabulary <= vocabulary
        self.network = Gpt2(layers, heads, width, vocabulary, text.length - 1)

    def turns(self, step: int) -> tuple[str, ...]:
        """Step the network."""
        return ("network",)

    def groups(self) -> dict[str, nn.Module]:
        """Return one group."""
        return {"network": self.network}

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        """Count the predicted words."""
        return {"loss": float(batch.inputs["text"][:, 1:].numel())}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        """Return the sum over all predicted words."""
        text = batch.inputs["text"]
        logits = self.network(text[:, :-1])
        return {"loss": functional.cross_entropy(logits.flatten(0, 1).float(), text[:, 1:].flatten(), reduction="sum")}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        """Return the loss; nothing is measured on the logits."""
        return {"loss": Loss(self(batch, "network", noise)["loss"], self.counts(batch, "network")["loss"])}, None


def flops_per_token(network: Gpt2) -> float:
    """Return the operations of forward and backward for each token, by nanoGPT's formula: 6 N + 12 L H Q T.

    N leaves out the embedding of places (Chowdhery et al. 2022, appendix B).
    """
    (context, width), layers = network.places.weight.shape, len(network.blocks)
    parameters = sum(parameter.numel() for parameter in network.parameters()) - network.places.weight.numel()
    return float(6 * parameters + 12 * layers * width * context)
