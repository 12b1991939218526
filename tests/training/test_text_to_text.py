"""Texts that are learnt from texts: a small network reproduces what a rule says, alone and divided among workers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stoker.datasets.feeding.batches import ordered_batches
from stoker.execution.results import drawn_sheet, evaluate_all
from stoker.inference.model import Model, save_model
from stoker.inference.prediction import predict
from stoker.job.job import Job
from stoker.tasks.sheet import Page
from stoker.tracking.run_folder import RunFolder
from stoker.training.assembly import Assembly, assemble
from stoker.training.evaluation import evaluate
from stoker.training.events import EpochEnd
from stoker.training.loop import start, train
from stoker.training.parallel import ALONE, Workers
from stoker.training.preparation import prepare
from stoker.training.sharding import fill

NETWORKS: dict[str, dict[str, Any]] = {
    "transformer": {"family": "transformer", "width": 32, "heads": 2, "layers": 1, "dropout": 0.0},
    "rnn": {"family": "rnn", "embedding": 32, "hidden": 32, "dropout": 0.0},
    "pretrained": {"family": "pretrained"},
}
RATES = {"transformer": 4e-3, "rnn": 1e-2, "pretrained": 4e-3}
COLOURS, ANIMALS = ["red", "blue", "green", "white", "black"], ["dog", "cat", "cow", "hen", "fox"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def keywords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write documents that begin with their keywords, which are their summary."""
    draw = np.random.default_rng(0)
    rows = []
    for _ in range(600):
        summary = f"{draw.choice(COLOURS)} {draw.choice(ANIMALS)}"
        rest = draw.choice(["the", "it", "was", "seen", *COLOURS, *ANIMALS], draw.integers(2, 7))
        rows.append({"source": [f"keyword: {summary}.", " ".join(rest)], "target": [summary, "nothing"]})
    path = tmp_path_factory.mktemp("keywords") / "documents.jsonl"
    pd.DataFrame(rows).to_json(path, orient="records", lines=True)
    return path


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random BART with a layer on both sides, and the words of the documents."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["<pad>", "</s>", "<unk>"]
    words = [*special, "keyword", ":", ".", "the", "it", "was", "seen", *COLOURS, *ANIMALS]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.add_special_tokens(special)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    sizes = {"d_model": 32, "max_position_embeddings": 24, "dropout": 0.0, "init_std": 0.1}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 64}
    config = transformers.BartConfig(
        vocab_size=len(words), pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **sizes
    )
    folder = tmp_path_factory.mktemp("bart")
    torch.manual_seed(0)
    transformers.BartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def trained(
    keywords: Path, bart: Path, make_job: Callable[..., Job]
) -> Callable[[str], tuple[Assembly, list[EpochEnd]]]:
    known: dict[str, tuple[Assembly, list[EpochEnd]]] = {}

    def run(family: str) -> tuple[Assembly, list[EpochEnd]]:
        if family not in known:
            pretrained = family == "pretrained"
            dataset = {
                "source": str(keywords),
                "columns": {"label": "target", "features": ["source"]},
                "text": {"length": 16, **({} if pretrained else {"tokens": "words"})},
            }
            architecture = {**NETWORKS[family], **({"model": str(bart)} if pretrained else {})}
            training = {
                "epochs": 12, "batch_size": 32, "precision": "fp32", "evaluate": {"every": "12 epochs"},
                "optimizer": {"type": "adam", "lr": RATES[family]},
            }  # fmt: skip
            assembly = assemble(
                prepare(make_job("summarization", dataset, architecture=architecture, training=training))
            )
            ends = [event for event in train("r", start(assembly)) if isinstance(event, EpochEnd)]
            known[family] = assembly, ends
        return known[family]

    return run


every_family = pytest.mark.parametrize("family", NETWORKS)


@every_family
def test_keywords_are_written_from_the_documents(family, trained):
    assembly, ends = trained(family)
    assert "exact_match/val" not in ends[0].metrics
    assert {"loss/val", "rouge1/val", "rouge2/val", "rougeL/val", "exact_match/val"} <= ends[-1].metrics.keys()
    metrics = evaluate(assembly, "test", "fp32")
    assert metrics["exact_match"] >= 0.9
    assert metrics["rouge1"] >= 0.9
    assert metrics["loss"] < ends[0].metrics["loss/val"]


@every_family
def test_training_measures_the_likeliest_token_and_the_end_what_the_job_says(family, trained):
    assembly, _ = trained(family)
    network = assembly.objective.network
    assert network.beam == 4
    quick, final = (evaluate(assembly, "val", "fp32", quick=each) for each in (True, False))
    network.beam = 1
    assert evaluate(assembly, "val", "fp32") == quick
    network.beam, network.no_repeat = 4, 1
    texts = evaluate(assembly, "val", "fp32")
    network.no_repeat = 0
    assert evaluate(assembly, "val", "fp32") == final
    assert texts["loss"] == final["loss"] == quick["loss"]


@every_family
def test_a_model_writes_what_the_network_does_and_takes_lists_of_sentences(family, trained, keywords, tmp_path):
    assembly, _ = trained(family)
    save_model(tmp_path, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    model = Model.load(tmp_path)
    table = pd.concat([answers.table for answers in predict(model, str(keywords))])
    targets = pd.read_json(keywords, lines=True)["target"].map(lambda each: each[0])
    assert (table["prediction"].to_numpy() == targets.to_numpy()).mean() >= 0.9
    few = pd.DataFrame({"source": ["keyword: red hen. it was", "keyword: blue fox. the the the the dog", ""]})
    whole = model.predict(few).table
    assert whole["prediction"].tolist()[:2] == ["red hen", "blue fox"]
    for row in range(3):  # neither padding nor neighbours matter
        pd.testing.assert_frame_equal(
            model.predict(few[row : row + 1]).table, whole[row : row + 1].reset_index(drop=True)
        )


@every_family
def test_the_record_shows_texts_and_scores_by_length(family, trained, tmp_path):
    assembly, _ = trained(family)
    found = drawn_sheet(assembly)
    assert found is not None
    name, png, page = found
    assert (name, png[:4]) == ("written", b"\x89PNG")
    assert page.count("source:    keyword") == page.count("reference: ") == page.count("written:   ") == 4
    folder = RunFolder(tmp_path)
    evaluate_all(folder, assembly)
    assert (folder.artifacts / "by-source-length-test.png").is_file()
    worst = pd.read_csv(folder.artifacts / "worst-test.csv")
    assert list(worst.columns) == ["id", "source", "target", "prediction", "loss", "sample"]
    assert worst["source"].str.startswith("keyword").all()
    assert worst["loss"].is_monotonic_decreasing


def _page(assembly: Assembly) -> Page:
    few = next(ordered_batches(assembly.parts["val"], assembly.data.fields, 3))
    with torch.inference_mode():
        page = assembly.task.show(assembly.objective.network.eval(), few, 0)
    assert isinstance(page, Page)
    return page


@every_family
def test_an_alignment_is_drawn_with_the_tokens_of_both_texts(family, trained):
    (alignment,) = _page(trained(family)[0]).alignments
    assert alignment.weights.shape == (len(alignment.rows), len(alignment.columns))
    assert alignment.rows[-1] == "end"
    assert alignment.columns[:2] == ("keyword", ":")


def test_workers_that_divide_the_weights_write_the_same_texts(trained, in_workers):
    assembly, _ = trained("transformer")
    state = {name: value.clone() for name, value in assembly.objective.state_dict().items()}
    job = assembly.job
    resources, training = job.resources.model_copy(update={"workers": 2}), {"parallel": "fsdp", "micro_batch": 7}

    def work(workers: Workers) -> Any:
        divided = job.model_copy(
            update={"resources": resources, "training": job.training.model_copy(update=training)}
        ) if workers.count > 1 else job  # fmt: skip
        mine = assemble(prepare(divided), workers)
        with torch.no_grad():
            for name, value in mine.objective.state_dict().items():
                fill(value, state[name])
        return [evaluate(mine, part, "fp32") for part in ("val", "test")]

    alone = work(ALONE)
    for theirs in in_workers(2, work):
        for mine, other in zip(alone, theirs, strict=True):
            assert other == pytest.approx(mine, abs=1e-5)
