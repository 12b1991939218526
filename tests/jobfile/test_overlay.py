from pathlib import Path

import pytest

from stoker.errors import JobError
from stoker.job.architecture.custom import Custom
from stoker.job.architecture.mlp import Mlp
from stoker.jobfile.loading import load_job, parse_job

SMALLEST = "task: image-classification\ndataset: digits\n"


def mistakes(text: str, *sets: str) -> list[str]:
    with pytest.raises(JobError) as raised:
        parse_job(text, "job.yaml", sets)
    return [f"{p.line}:{p.column} {p.path} {p.message}".replace("  ", " ") for p in raised.value.problems]


def file_mistakes(path: Path) -> list[str]:
    with pytest.raises(JobError) as raised:
        load_job(path)
    return [f"{Path(p.file).name}:{p.line}:{p.column} {p.path} {p.message}" for p in raised.value.problems]


def test_extends_merges_objects_and_replaces_lists(tmp_path: Path):
    (tmp_path / "base.yaml").write_text(f"{SMALLEST}architecture: {{family: cnn, channels: [1, 2], dropout: 0.5}}\n")
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\narchitecture: {channels: [3]}\ntraining: {epochs: 2}\n")
    job = load_job(child).job
    assert job.architecture is not None
    assert job.architecture.model_dump(include={"family", "channels", "dropout"}) == {
        "family": "cnn",
        "channels": (3,),
        "dropout": 0.5,
    }
    assert (job.training.epochs, job.dataset.source, job.name) == (2, "digits", "child")


def test_another_choice_replaces_the_whole_object_below(tmp_path: Path):
    (tmp_path / "base.yaml").write_text(
        f"{SMALLEST}training: {{optimizer: {{type: adamw, betas: [0.8, 0.9]}}, epochs: 3}}\n"
    )
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\ntraining: {optimizer: {type: sgd, momentum: 0.5}}\n")
    training = load_job(child).job.training
    assert (training.optimizer.type, training.epochs) == ("sgd", 3)
    child.write_text("extends: base.yaml\ntraining: {optimizer: adamw}\n")
    assert load_job(child).job.training.optimizer.model_dump()["betas"] == (0.8, 0.9)


def test_the_settings_of_a_custom_class_are_merged_key_by_key(tmp_path: Path):
    (tmp_path / "base.yaml").write_text(
        f"{SMALLEST}architecture: {{family: custom, class: nets:Small, width: 8, head: {{drop: 0.1, act: relu}}}}\n"
    )
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\narchitecture: {class: nets:Large, head: {drop: 0.2}}\n")
    architecture = load_job(child, ["architecture.width=64", "architecture.head.bias=no"]).job.architecture
    assert isinstance(architecture, Custom)
    assert architecture.class_name == "nets:Large"
    assert architecture.settings == {"width": 64, "head": {"drop": 0.2, "act": "relu", "bias": "no"}}
    child.write_text("extends: base.yaml\narchitecture: mlp\n")
    assert load_job(child).job.architecture == Mlp(family="mlp")


def test_a_mistake_in_an_inherited_key_names_the_parent(tmp_path: Path):
    (tmp_path / "base.yaml").write_text(f"{SMALLEST}training:\n  epochs: fast\n")
    child = tmp_path / "child.yaml"
    child.write_text("extends: base.yaml\nresorces: {}\n")
    assert file_mistakes(child) == [
        "child.yaml:2:1 resorces unknown key; did you mean 'resources'?",
        "base.yaml:4:11 training.epochs 'fast' is not a whole number (example: 10)",
    ]


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("gone.yaml", "'gone.yaml' does not exist"),
        ("child.yaml", "'child.yaml' extends this file in turn; a job cannot extend itself"),
        ("[a, b]", "expected the path of one job file (example: extends: base.yaml)"),
    ],
)
def test_an_invalid_parent_is_refused(tmp_path: Path, parent: str, expected: str):
    child = tmp_path / "child.yaml"
    child.write_text(f"{SMALLEST}extends: {parent}\n")
    assert [mistake.partition(" ")[2] for mistake in file_mistakes(child)] == [f"extends {expected}"]


def test_two_files_that_extend_each_other_are_refused(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(f"{SMALLEST}extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    assert file_mistakes(tmp_path / "a.yaml") == [
        "b.yaml:1:10 extends 'a.yaml' extends this file in turn; a job cannot extend itself"
    ]


def test_set_overrides_the_file_and_follows_its_rules():
    sets = [
        "training.epochs=3",
        "training.optimizer.lr=1e-3",
        "training.optimizer.type=sgd",
        "architecture=mlp",
        "name=no",
    ]
    job = parse_job(f"{SMALLEST}training: {{epochs: 9, seed: 4}}\n", "job.yaml", sets).job
    assert (job.training.epochs, job.training.seed, job.name) == (3, 4, "no")
    assert job.training.optimizer.model_dump(include={"type", "lr"}) == {"type": "sgd", "lr": 0.001}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("training.epochs", "0:0 'training.epochs' is not KEY=VALUE (example: training.epochs=3) (from --set)"),
        ("a b=3", "0:0 'a b=3' is not KEY=VALUE (example: training.epochs=3) (from --set)"),
        ("training.epochs=fast", "0:0 training.epochs 'fast' is not a whole number (example: 10) (from --set)"),
        ("training.epoch=3", "0:0 training.epoch unknown key; did you mean 'epochs'? (from --set)"),
        ("training.epochs=[", "0:0 training.epochs not YAML; check indentation, quotes and brackets here (from --set)"),
        (
            "architecture.family=mlpp",
            "0:0 architecture 'mlpp' is not one of perceptron, mlp, cnn, unet, detector, torchvision-detector, vit, "
            "backbone, autoencoder, "
            "feature-distance, captioner, rnn, transformer, pretrained, gan, vae, diffusion, tabular-diffusion, "
            "custom; did you mean 'mlp'? (from --set)",
        ),
        ("extends=a.yaml", "0:0 extends can be set in a file only (from --set)"),
    ],
)
def test_a_mistake_in_a_set_names_its_source(setting: str, expected: str):
    assert mistakes(SMALLEST, setting) == [expected]
