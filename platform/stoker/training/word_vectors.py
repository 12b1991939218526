"""Vectors of words before training, computed from the texts of the training part."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.feeding.streaming import FITTED_SAMPLES
from stoker.datasets.samples import Samples
from stoker.datasets.tokens.cooccurrence import cooccurrence_vectors
from stoker.errors import Problem
from stoker.job.architecture.choice import Architecture
from stoker.job.architecture.rnn import Rnn
from stoker.job.architecture.transformer import Transformer
from stoker.job.job import Job
from stoker.job.signature import BlanksOutput, ClassOutput, TagsOutput

KEY = "architecture.word_vectors"
COUNTED_TEXTS = 100_000
"""Most texts in which words are counted, evenly spaced: more would change little and take minutes."""
TEXTS_PER_CHUNK = 10_000


def counts_words(architecture: Architecture) -> bool:
    """Return whether the network's vectors of words are computed from texts."""
    return isinstance(architecture, Rnn | Transformer) and architecture.word_vectors == "co-occurrence"


def word_vector_problems(job: Job, architecture: Architecture, data: LoadedDataset) -> Iterator[Problem]:
    """Check that vectors of words can be computed from the data, and are not those of a saved model."""
    if not counts_words(architecture):
        return
    signature = data.fields.signature
    if len(signature.texts) != 1 or not isinstance(signature.output, BlanksOutput | ClassOutput | TagsOutput):
        message = f"co-occurrence does nothing for {job.task}, which does not read a text as a whole; leave it out"
        yield Problem(KEY, message)
    elif job.training.start_from:
        yield Problem(
            KEY, "co-occurrence does nothing here: the vectors are those of training.start_from; leave it out"
        )
    elif data.fields.text.tokens in ("characters", "bytes"):
        message = (
            f"{data.fields.text.tokens} tell nothing by the texts they occur in; use tokens: words, or leave it out"
        )
        yield Problem(KEY, message)


def word_vectors(data: LoadedDataset, width: int) -> Tensor:
    """Return (vocabulary, width) vectors with a mean square of 1; zeros for a token that occurs with no other."""
    text = data.fields.text
    chunks = _counted_texts(data.parts["train"], text.name)
    return torch.from_numpy(cooccurrence_vectors(chunks, text.tokenizer.size, width))


def _counted_texts(samples: Samples, name: str) -> Iterator[np.ndarray]:
    """Yield token numbers of some texts at a time; of streamed shards only those that the vocabulary is built of."""
    count = min(samples.shards[0], FITTED_SAMPLES) if samples.shards else len(samples)
    rows = torch.arange(0, count, -(-count // COUNTED_TEXTS), device=samples.ids.device)
    for begin in range(0, len(rows), TEXTS_PER_CHUNK):
        yield samples.inputs[name].take(rows[begin : begin + TEXTS_PER_CHUNK]).cpu().numpy()
