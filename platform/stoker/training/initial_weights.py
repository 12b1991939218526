"""Weights before training that do not follow from the seed: those of a saved model, or computed from the data."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from stoker.architectures.generative.diffusion import LatentDiffusion
from stoker.datasets.feeding.batches import ordered_batches
from stoker.datasets.feeding.limits import batch_limit
from stoker.errors import JobError, Problem
from stoker.training.assembly import Assembly
from stoker.training.sharding import fill, is_sharded
from stoker.training.transfer import load_weights
from stoker.training.word_vectors import KEY, counts_words, word_vectors

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def set_initial_weights(assembly: Assembly, model: Path | None) -> None:
    """Replace weights of the seed, where the job asks for it; all workers call it, before the first step.

    Args:
        assembly: freshly built.
        model: folder of the saved model to start from, if there is one.

    Raises:
        JobError: the model is missing or none of its weights fits; or no words of the texts occur together.

    """
    if model:
        load_weights(assembly.objective, model)
        if isinstance(network := assembly.objective.network, LatentDiffusion):
            _measure_codes(network, assembly)
    elif counts_words(assembly.prepared.architecture):
        embedding = assembly.objective.network.embedding
        assert isinstance(embedding, nn.Embedding)
        _set_word_vectors(embedding, assembly)


def _measure_codes(network: LatentDiffusion, assembly: Assembly) -> None:
    """Standardise the codes of images by those of the training part; the first worker computes it."""
    fields = assembly.data.fields
    if assembly.workers.rank == 0:
        batches = ordered_batches(assembly.parts["train"], fields, batch_limit(fields.signature))
        network.memorise(batch.inputs for batch in batches)
    assembly.workers.broadcast([network.mean, network.deviation])


def _set_word_vectors(embedding: nn.Embedding, assembly: Assembly) -> None:
    """Set the vectors of words that occur with others; the first worker computes them, as rounding may differ."""
    workers, weight = assembly.workers, embedding.weight
    if workers.rank == 0:
        vectors = word_vectors(assembly.data, embedding.embedding_dim)
    else:
        vectors = torch.empty(embedding.num_embeddings, embedding.embedding_dim)
    vectors = vectors.to(workers.device)
    workers.broadcast([vectors])
    known = vectors.any(dim=1, keepdim=True)
    if not known.any():
        message = "no two words of the vocabulary occur in one text of the training part; leave it out"
        raise JobError([Problem(KEY, message)])
    with torch.no_grad():
        whole: Tensor = cast("DTensor", weight).full_tensor() if is_sharded(weight) else weight
        fill(weight, torch.where(known, vectors, whole))
