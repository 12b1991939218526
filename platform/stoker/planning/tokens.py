"""How many tokens a step of training on texts reads, and how many places of a batch are padding."""

from dataclasses import dataclass

from stoker.datasets.columns import Column, Ragged, Windows
from stoker.datasets.feeding.order import bucketed
from stoker.training.preparation import Prepared


@dataclass(frozen=True)
class TokenPlan:
    """Tokens of a training part."""

    epoch: int
    """Of all training texts."""
    step: float
    """Of a step, on average."""
    padding: float
    """Share of the places of a batch that hold no token."""


def plan_tokens(prepared: Prepared) -> TokenPlan | None:
    """Return the tokens of a job on texts in memory; None of other jobs."""
    samples = prepared.data.parts["train"]
    signature = prepared.data.fields.signature
    texts = [samples.inputs[name] for name in (*signature.texts, *signature.pairs, *signature.pieces)]
    target = samples.target
    if isinstance(target, Ragged) and target.has_tokens and not (signature.pairs or signature.pieces):
        texts.append(target)
    counted = [_tokens(prepared, text) for text in texts if isinstance(text, (Ragged, Windows))]
    if not counted:
        return None
    tokens, places = (sum(each) for each in zip(*counted, strict=True))
    return TokenPlan(tokens, tokens / prepared.steps_per_epoch, 1 - tokens / max(places, 1))


def _tokens(prepared: Prepared, column: Column) -> tuple[int, int]:
    """Return the tokens of a column, and the places of an epoch's batches."""
    if isinstance(column, Windows):
        places = len(column) * len(column.steps)
        return min(len(column.values) - 1, places), places
    assert isinstance(column, Ragged)
    lengths = prepared.data.parts["train"].lengths
    assert lengths is not None
    order = bucketed(lengths, prepared.batch_size, prepared.job.training.seed, 0)
    batches = column.lengths().cpu()[order].split(prepared.batch_size)  # type: ignore[no-untyped-call] # torch's
    return int(column.lengths().sum()), sum(len(batch) * int(batch.max()) for batch in batches)
