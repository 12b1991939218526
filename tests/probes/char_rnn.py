"""The next character of a text: a recurrent network whose state is carried from batch to batch (truncated BPTT)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from stoker.tasks.objective import BatchLike, Count, Loss, NoiseLike, Objective


class Body(nn.Module):
    def __init__(self, letters: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, hidden)
        self.rnn = nn.GRU(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, letters)

    def forward(self, text: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        outputs, last = self.rnn(self.embedding(text), state.unsqueeze(0))
        return self.head(outputs), last.squeeze(0)


class CharRnn(Objective):
    order = "streams"
    carried = ("state",)

    def __init__(self, signature, hidden: int = 8) -> None:
        super().__init__()
        self.hidden = hidden
        self.network = Body(max(signature.categories), hidden)
        self.register_buffer("state", torch.zeros(0, hidden))

    def begin_epoch(self, rows: int) -> None:
        self.state = torch.zeros(rows, self.hidden, device=self.state.device)

    def turns(self, step: int):
        return ("network",)

    def groups(self):
        return {"network": self.network}

    def counts(self, batch: BatchLike, turn: str) -> dict[str, Count]:
        return {"loss": float(batch.inputs["categories"][:, 1:].numel())}

    def forward(self, batch: BatchLike, turn: str, noise: NoiseLike) -> dict[str, Tensor]:
        if len(batch) == 0:  # torch's GRU wants a sample
            return {"loss": sum(p.sum() for p in self.network.parameters()) * 0.0}
        loss, last = self._read(batch.inputs["categories"], self.state[batch.rows].clone())
        self.state[batch.rows] = last.detach()
        return {"loss": loss.total}

    def evaluate(self, batch: BatchLike, noise: NoiseLike) -> tuple[dict[str, Loss], Tensor | None]:
        text = batch.inputs["categories"]
        return {"loss": self._read(text, torch.zeros(len(text), self.hidden, device=text.device))[0]}, None

    def _read(self, text: Tensor, state: Tensor) -> tuple[Loss, Tensor]:
        logits, last = self.network(text, state)
        losses = functional.cross_entropy(logits[:, :-1].flatten(0, 1), text[:, 1:].flatten(), reduction="sum")
        return Loss(losses, losses.new_tensor(float(text[:, 1:].numel()))), last
