"""A class for each text."""

from torch import Tensor, nn

from stoker.datasets.tokens.tokenizer import PADDING
from stoker.tasks.abilities import can_attend
from stoker.tasks.classification.classification import Classification
from stoker.tasks.objective import BatchLike
from stoker.tasks.sheet import Alignment, Page, token_names

SHOWN_TEXTS, SHOWN_TOKENS = 4, 48
"""Texts whose attention is drawn, and most tokens of each."""
NOTE = "Attention of the last layer: how much each head takes of a token, as a mean over the places of the text."


class TextClassification(Classification):
    """What all classifications share, and what a network looks at."""

    def show(self, network: nn.Module, few: BatchLike, seed: int) -> Page | None:
        """Return texts with their classes, and how much each head attends to their tokens; None for other networks."""
        looking = network if can_attend(network) else None
        if looking is None:
            return None
        text = self.fields.text
        inputs = {name: value[:SHOWN_TEXTS] for name, value in few.inputs.items()}
        chosen = network(inputs).argmax(dim=1).tolist()
        weights = looking.attend(inputs).float().cpu()
        texts, alignments = [], []
        for row, numbers in enumerate(inputs[text.name].cpu()):
            truth, predicted = self.classes[int(few.target[row])], self.classes[chosen[row]]
            said = truth if truth == predicted else f"{truth}, predicted {predicted}"
            tokens = [number for number in numbers.tolist() if number != PADDING]
            texts.append(f"{said}\n{text.tokenizer.decode(tokens)}")
            alignments.append(self._attention(weights[row, :, : len(tokens), : len(tokens)], tokens))
        return Page("attention", tuple(texts), tuple(alignments), note=NOTE)

    def _attention(self, weights: Tensor, tokens: list[int]) -> Alignment:
        """Return how much of each token each head takes, from (heads, n, n) weights."""
        heads = tuple(f"head {number}" for number in range(1, len(weights) + 1))
        names = token_names(self.fields.text.tokenizer, tokens[:SHOWN_TOKENS])
        return Alignment(heads, names, weights.mean(dim=1)[:, :SHOWN_TOKENS].numpy())
