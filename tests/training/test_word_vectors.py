"""Vectors of words that begin with what the texts of the training part say: the same ones in each worker."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.errors import JobError
from stoker.inference.model import save_model
from stoker.training.assembly import Assembly, assemble, made_whole
from stoker.training.evaluation import evaluate
from stoker.training.initial_weights import set_initial_weights
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import prepare
from stoker.training.word_vectors import word_vectors

pytestmark = pytest.mark.usefixtures("one_thread")
NETWORKS: dict[str, dict[str, Any]] = {
    "transformer": {"family": "transformer", "width": 16, "heads": 2, "layers": 1},
    "rnn": {"family": "rnn", "embedding": 16, "hidden": 8},
}
COUNTED = {"word_vectors": "co-occurrence"}
GOOD, BAD, PLAIN = ([f"{kind}{number}" for number in range(30)] for kind in ("good", "bad", "word"))


def sentences(count: int, seed: int) -> pd.DataFrame:
    """Sentences of common words with two of thirty good ones or of thirty bad ones."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        label = rng.choice(["good", "bad"])
        words = [*rng.choice(GOOD if label == "good" else BAD, 2), *rng.choice(PLAIN, 4)]
        rows.append((" ".join(rng.permutation(words)), label))
    return pd.DataFrame(rows, columns=["text", "label"])


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> str:
    """Sentences without labels."""
    path = tmp_path_factory.mktemp("texts") / "many.csv"
    sentences(500, 0)[["text"]].to_csv(path, index=False)
    return str(path)


@pytest.fixture
def filling(make_job, texts):
    """Make a job that fills in words."""

    def make(family: str = "transformer", workers: int = 1, **training: Any) -> Any:
        settings = {"epochs": 2, "batch_size": 50, "precision": "fp32", **training}
        network = {**NETWORKS[family], **COUNTED}
        return make_job("fill-mask", texts, architecture=network, training=settings, resources={"workers": workers})

    return make


def begun(job: Any, workers: Workers = ALONE) -> Assembly:
    """Return an assembly before its first step."""
    assembly = assemble(prepare(job), workers)
    set_initial_weights(assembly, None)
    return assembly


@pytest.mark.parametrize("family", NETWORKS)
def test_words_have_the_vectors_of_the_texts_and_all_other_weights_those_of_the_seed(filling, family):
    job = filling(family)
    seeds, assembly = assemble(prepare(job)).objective.state_dict(), begun(job)
    expected = word_vectors(assembly.data, 16)
    known = expected.any(dim=1)
    assert known.sum() == 90
    weights = assembly.objective.state_dict()
    name = "network.embedding.weight"
    assert torch.equal(weights[name][known], expected[known])
    assert torch.equal(weights[name][~known], seeds[name][~known])
    assert all(torch.equal(value, seeds[key]) for key, value in weights.items() if key != name)


@pytest.mark.parametrize("parallel", ["replicated", "fsdp"])
def test_all_workers_begin_with_the_same_vectors(filling, in_workers, parallel):
    job = filling(workers=2, parallel=parallel)

    def work(workers: Workers) -> Any:
        whole = made_whole(begun(job, workers))
        return None if whole.sharded else whole.objective.network.embedding.weight

    alone = begun(filling()).objective.network.embedding.weight
    first, second = in_workers(2, work)
    assert torch.equal(first, alone)
    assert second is None if parallel == "fsdp" else torch.equal(second, alone)


def test_a_few_labels_suffice_where_words_of_many_texts_are_known(filling, make_job, tmp_path):
    few = pd.concat([sentences(24, 1), sentences(200, 2)], ignore_index=True)
    few["part"] = ["train"] * 24 + ["test"] * 200
    few.to_csv(tmp_path / "few.csv", index=False)
    dataset = {"source": str(tmp_path / "few.csv"), "columns": {"label": "label"}, "split": {"column": "part"}}

    def accuracy(word_vectors: str) -> float:
        job = filling(epochs=1)
        network = job.architecture.model_copy(update={"word_vectors": word_vectors})
        blanks = begun(job.model_copy(update={"architecture": network}))
        for _ in train("r", start(blanks)):
            pass
        model = tmp_path / word_vectors
        save_model(model, blanks.job, blanks.data.fields, blanks.objective, "")
        training = {"epochs": 20, "batch_size": 8, "precision": "fp32", "optimizer": {"type": "adamw", "lr": 3e-3}}
        job = make_job("text-classification", dataset, architecture=NETWORKS["transformer"], training=training)
        assembly = assemble(prepare(job, start=model))
        set_initial_weights(assembly, model)
        for _ in train("r", start(assembly)):
            pass
        return evaluate(assembly, "test", "fp32")["accuracy"]

    assert accuracy("co-occurrence") > accuracy("random") + 0.05


class TestRefused:
    def problem(self, job: Any, start: Any = None) -> str:
        with pytest.raises(JobError) as caught:
            set_initial_weights(assemble(prepare(job, start=start)), start)
        (problem,) = caught.value.problems
        assert problem.path == "architecture.word_vectors"
        return problem.message

    def test_a_task_that_does_not_read_a_text_as_a_whole(self, make_job, tiny_data):
        network = {**NETWORKS["transformer"], **COUNTED}
        for task in ("text-generation", "token-classification", "translation"):
            job = make_job(task, tiny_data(task), architecture=network)
            assert self.problem(job) == (
                f"co-occurrence does nothing for {task}, which does not read a text as a whole; leave it out"
            )

    def test_a_model_to_start_from_which_has_vectors(self, filling, tmp_path):
        assembly = assemble(prepare(filling()))
        save_model(tmp_path, assembly.job, assembly.data.fields, assembly.objective, "")
        message = self.problem(filling(start_from=str(tmp_path)), tmp_path)
        assert message.endswith("the vectors are those of training.start_from; leave it out")

    def test_characters(self, make_job, texts):
        dataset = {"source": texts, "text": {"tokens": "characters"}}
        job = make_job("fill-mask", dataset, architecture={**NETWORKS["rnn"], **COUNTED})
        assert self.problem(job).startswith("characters tell nothing by the texts they occur in; use tokens: words")

    def test_texts_of_one_word(self, make_job, tmp_path):
        pd.DataFrame({"text": ["yes", "no"] * 30}).to_csv(tmp_path / "words.csv", index=False)
        job = make_job("fill-mask", str(tmp_path / "words.csv"), architecture={**NETWORKS["transformer"], **COUNTED})
        assert self.problem(job).startswith("no two words of the vocabulary occur in one text")
