import pytest
import torch
from safetensors.torch import save_file

from stoker.architectures.network import build_network, parameter_count
from stoker.cli.views.plan import plan_json, plan_text
from stoker.errors import JobError
from stoker.job.architecture.cnn import Cnn
from stoker.job.architecture.mlp import Mlp
from stoker.job.concurrency import machine_cpus
from stoker.job.saved_model import WEIGHTS
from stoker.job.signature import ClassOutput, ImageInput, Signature
from stoker.planning.run import SMALL_NETWORK, make_plan, trace
from stoker.training.assembly import assemble
from stoker.training.preparation import prepare


def test_a_plan_counts_layers_parameters_and_samples(make_job):
    job = make_job("tabular-classification", "iris", architecture={"family": "mlp", "hidden": [8]})
    plan = make_plan(job)
    assert [(layer.name, layer.kind, layer.shape, layer.parameters) for layer in plan.layers] == [
        ("hidden.0", "Linear", (8,), 4 * 8 + 8),
        ("hidden.1", "ReLU", (8,), 0),
        ("output", "Linear", (3,), 8 * 3 + 3),
    ]
    assert plan.parts["val"] == {"setosa": 5, "versicolor": 5, "virginica": 5}
    assert (plan.steps_per_epoch, plan.steps, plan.epochs) == (8, 188 * 8, 188)
    twin, precision = plan.notes
    assert "also in train" in twin  # two of the flowers are the same
    assert precision == "precision: fp32 or bf16, whichever three steps show to be faster"


@pytest.mark.parametrize("architecture", ["cnn", "mlp", {"family": "cnn", "blocks": "residual", "dropout": 0.1}])
def test_the_planned_network_is_the_trained_one(make_job, architecture):
    job = make_job("image-classification", "digits", architecture=architecture)
    plan = make_plan(job)
    trained = assemble(prepare(job)).objective
    assert plan.parameters == parameter_count(trained)
    assert plan.parameters == sum(layer.parameters for layer in plan.layers)
    assert plan.job == prepare(job.model_copy(update={"resources": plan.job.resources})).job


@pytest.mark.parametrize(
    ("task", "dataset", "text"),
    [
        ("tabular-classification", "iris", "4 numbers"),
        ("image-classification", "digits", "image of 1x8x8"),
    ],
)
def test_a_plan_says_what_the_network_reads(make_job, task, dataset, text):
    assert make_plan(make_job(task, dataset)).inputs == text


@pytest.mark.parametrize(
    "architecture",
    [Mlp(family="mlp", hidden=(16, 8), dropout=0.5), Cnn(family="cnn", channels=(8, 16), blocks="residual")],
)
def test_a_trace_is_the_same_with_and_without_memory(architecture):
    signature = Signature({"image": ImageInput(3, 8, 8)}, ClassOutput(("a", "b")))
    with torch.device("meta"):
        empty = build_network(architecture, signature)
    assert trace(empty, signature, "meta") == trace(build_network(architecture, signature), signature, "cpu")


def test_a_large_network_is_planned_without_memory(make_job):
    network = {"family": "mlp", "hidden": [20_000, 20_000]}
    plan = make_plan(make_job("tabular-classification", "iris", architecture=network))
    assert plan.parameters == 4 * 20_000 + 20_000 + 20_000**2 + 20_000 + 3 * 20_000 + 3
    assert plan.parameters > SMALL_NETWORK
    assert [layer.shape for layer in plan.layers] == [(20_000,)] * 4 + [(3,)]
    assert plan.memory_mib > plan.parameters * 4 * 5 / 2**20


def test_memory_grows_with_batch_optimizer_and_micro_batch(make_job):
    def memory(**training) -> float:
        return make_plan(make_job("image-classification", "digits", training=training)).memory_mib

    small = memory(batch_size=16)
    assert small > 0
    assert memory(batch_size=256) > small
    assert memory(batch_size=256, micro_batch=16) == small
    assert memory(batch_size=16, optimizer={"type": "sgd", "momentum": 0.0}) < small
    assert memory(batch_size=16, ema=0.99) > small


def test_a_run_by_the_clock_has_no_number_of_steps(make_job):
    plan = make_plan(make_job("tabular-classification", "xor", training={"time": "10 min", "precision": "fp32"}))
    assert (plan.steps, plan.epochs) == (0, 0)
    assert plan.notes == ()


def test_requesting_more_gpus_or_cpus_than_the_machine_has_is_an_error(make_job):
    gpus, cpus = torch.cuda.device_count(), machine_cpus()
    if gpus:
        pytest.skip("this machine has the GPU that a job may ask for")
    job = make_job("tabular-classification", "xor", resources={"gpus": 1, "cpus": 4096})
    with pytest.raises(JobError) as caught:
        make_plan(job)
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        ("resources.gpus", "1 asked for, this machine has 0; use 0"),
        ("resources.cpus", f"4096 asked for, this machine has {cpus}; use at most {cpus}"),
    ]


def test_weights_to_start_from_are_compared_with_the_network(make_job, tmp_path):
    def network(**keys):
        return make_job("tabular-classification", "iris", architecture={"family": "mlp", **keys})

    def saved(name, **keys):
        prepared = prepare(network(**keys))
        weights = build_network(prepared.architecture, prepared.data.fields.signature).state_dict()
        (tmp_path / name).mkdir()
        save_file(weights, tmp_path / name / WEIGHTS)
        return tmp_path / name, [*weights]

    def noted(weights, **keys):
        notes = make_plan(network(**keys), weights=weights).notes
        return next(note for note in notes if note.startswith("training.start_from: "))

    same, names = saved("same", hidden=[8, 8])
    assert noted(same, hidden=[8, 8]).endswith(f": all {len(names)} weights come from the saved model")
    wider = noted(same, hidden=[8, 16])
    assert f" of {len(names)} weights come from the saved model; new are " in wider
    other = tmp_path / "other"
    other.mkdir()
    save_file({"elsewhere": torch.zeros(3)}, other / WEIGHTS)
    with pytest.raises(JobError, match=r"no weight of '.*other' fits this network"):
        make_plan(network(hidden=[8, 8]), weights=other)


def test_what_is_left_out_is_noted(make_job, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("row,x,y\n" + "".join(f"{row},{row * row % 7},{'ab'[row % 2]}\n" for row in range(40)))
    job = make_job("tabular-classification", {"source": str(path), "columns": {"label": "y"}})
    assert make_plan(job).notes[0] == "column 'row' is left out: it numbers the rows"


def test_divided_weights_take_their_share_of_memory_and_travel_once_more(make_job):
    def plan(workers, **training):
        resources = {"workers": workers}
        training = {"batch_size": 64, **training}
        return make_plan(make_job("image-classification", "digits", training=training, resources=resources))

    alone, replicated, divided = plan(1), plan(4), plan(4, parallel="fsdp")
    assert alone.memory_parts.weights == replicated.memory_parts.weights == 4 * divided.memory_parts.weights
    assert divided.memory_parts.optimizer == replicated.memory_parts.optimizer / 4
    assert divided.memory_mib == pytest.approx(divided.memory_parts.total)
    size = alone.parameters * 4 / 2**20
    assert (alone.exchange_mib, replicated.exchange_mib) == (0, pytest.approx(2 * size * 3 / 4))
    assert divided.exchange_mib == pytest.approx(3 * size * 3 / 4)
    assert plan(4, parallel="fsdp", precision="bf16").exchange_mib == pytest.approx(2 * size * 3 / 4)


@pytest.mark.parametrize("large", [False, True], ids=["on the CPU", "on the meta device"])
def test_a_plan_counts_what_is_trained_of_a_pretrained_model(make_job, tiny_data, tiny_model, monkeypatch, large):
    if large:
        monkeypatch.setattr("stoker.planning.run.SMALL_NETWORK", 0)
    architecture = {"family": "pretrained", "model": str(tiny_model("bert")), "lora": {"rank": 2}}
    job = make_job("text-classification", tiny_data("text-classification"), architecture=architecture)
    plan = make_plan(job)
    attention, feedforward = 4 * 2 * (16 + 16), 2 * 2 * (16 + 32)
    assert plan.trained == 2 * (attention + feedforward) + 2 * 16 + 2  # six adapters in each layer, and the head
    assert plan.parameters == sum(each.numel() for each in assemble(prepare(job)).objective.parameters())
    assert f"{plan.parameters:,}, of which {plan.trained} are trained" in plan_text(plan)
    assert plan_json(plan)["trained"] == plan.trained
    whole = make_plan(
        make_job("text-classification", tiny_data("text-classification"), architecture={**architecture, "lora": "none"})
    )
    assert whole.trained == whole.parameters
    assert whole.memory_parts.optimizer > 5 * plan.memory_parts.optimizer
