import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import JobError, Problem
from stoker.jobfile.language import walk
from stoker.jobfile.loading import parse_job

SMALLEST = "task: image-classification\ndataset: digits\n"


def mistakes(text: str, *sets: str) -> list[str]:
    with pytest.raises(JobError) as raised:
        parse_job(text, "job.yaml", sets)
    return [f"{p.line}:{p.column} {p.path} {p.message}".replace("  ", " ") for p in raised.value.problems]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("epochs: 3", "3:1 epochs unknown key; did you mean 'training.epochs'?"),
        ("trainig: {epochs: 3}", "3:1 trainig unknown key; did you mean 'training'?"),
        ("seed: 3", "3:1 seed unknown key; did you mean 'dataset.split.seed' or 'training.seed'?"),
        ("training.epochs: 3", "3:1 training.epochs unknown key; write 'epochs' inside 'training'"),
        (
            "resources:\n  disk: 1",
            "4:3 resources.disk unknown key; the keys here are workers, gpus, workers_per_node, cpus, memory, "
            "accelerator, queue, priority, timeout, retries",
        ),
        (
            "architecture:\n  family: cnn\n  channles: [64]",
            "5:3 architecture.channles unknown key for cnn; did you mean 'channels'?",
        ),
        (
            "architecture: {family: mlp, channels: [64]}",
            "3:29 architecture.channels unknown key for mlp; 'channels' belongs to cnn and unet and detector and "
            "autoencoder and feature-distance and captioner and gan and vae and diffusion",
        ),
        (
            "training: {optimizer: {type: adamw, adamw: 1}}",
            "3:37 training.optimizer.adamw unknown key for adamw; the keys here are type, lr, betas, weight_decay",
        ),
        (
            "training: {optimizer: {type: adam, momentum: 1}}",
            "3:36 training.optimizer.momentum unknown key for adam; 'momentum' belongs to sgd and muon",
        ),
        (
            "training: {early_stopping: {patince: 3}}",
            "3:29 training.early_stopping.patince unknown key; did you mean 'patience'?",
        ),
        ("tracking: {experimnt: a}", "3:12 tracking.experimnt unknown key; did you mean 'experiment'?"),
    ],
)
def test_an_unknown_key_is_an_error_at_every_level(lines: str, expected: str):
    assert mistakes(f"{SMALLEST}{lines}\n") == [expected]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            "training: {optimizer: {type: adamw, lr: fast}}",
            "3:41 training.optimizer.lr 'fast' is not a number (example: 3e-4)",
        ),
        (
            "training: {class_weights: balancd}",
            "3:27 training.class_weights 'balancd' is neither 'balanced' nor an object; did you mean 'balanced'?",
        ),
        ("training: {class_weights: 3}", "3:27 training.class_weights expected an object, got 3"),
        ("training: {class_weights: {}}", "3:27 training.class_weights expected at least 1 entry, got none"),
        ("training: {class_weights: {a: 0}}", "3:31 training.class_weights.a 0 is too small: more than 0"),
        (
            "training: {class_weights: {a: much}}",
            "3:31 training.class_weights.a 'much' is not a number (example: 3e-4)",
        ),
        ("training: {label_smoothing: 1}", "3:29 training.label_smoothing 1 is too large: less than 1"),
        ("training: {optimizer: {type: adamw, lr: [1]}}", "3:41 training.optimizer.lr expected a number, got a list"),
        ("training: {optimizer: {type: adamw, lr: }}", "3:40 training.optimizer.lr expected a number, got nothing"),
        ("training: {optimizer: {type: adamw, lr: 0}}", "3:41 training.optimizer.lr 0 is too small: more than 0"),
        (
            "training: {optimizer: {type: adamw, lr: 1e400}}",
            "3:41 training.optimizer.lr .inf is not a finite number (example: 3e-4)",
        ),
        (
            "training: {gradient_clip: -.inf}",
            "3:27 training.gradient_clip -.inf is not a finite number (example: 3e-4)",
        ),
        (
            "training: {optimizer: {type: adamw, betas: [0.9]}}",
            "3:44 training.optimizer.betas expected 2 entries, got 1",
        ),
        (
            "training: {optimizer: {type: adamw, betas: [0.9, 0.9, 0.9]}}",
            "3:44 training.optimizer.betas expected at most 2 entries, got 3",
        ),
        (
            "training: {optimizer: {lr: 1}}",
            "3:12 training.optimizer.type required: one of sgd, adam, adamw, muon (example: type: sgd)",
        ),
        (
            "training: {optimizer: adamv}",
            "3:23 training.optimizer 'adamv' is not one of sgd, adam, adamw, muon; did you mean 'adam'?",
        ),
        (
            "training: {optimizer: [a]}",
            "3:23 training.optimizer expected an object or a word such as 'sgd', got a list",
        ),
        ("training: {epochs: true}", "3:20 training.epochs expected a whole number, got true"),
        ("training: {epochs: 1.5}", "3:20 training.epochs expected a whole number, got 1.5"),
        ("training: {epochs: '3'}", "3:20 training.epochs '3' is not a whole number (example: 10)"),
        ("training: {epochs: 0}", "3:20 training.epochs 0 is too small: at least 1"),
        ("training: {epochs: 2000000}", "3:20 training.epochs 2000000 is too large: at most 1000000"),
        ("training: {epochs: " + "9" * 60 + "}", "3:20 training.epochs a huge number is too large: at most 1000000"),
        ("training: {time: 3}", "3:18 training.time 3 is not a length of time (examples: 90 s, 10 min, 2 h)"),
        (
            "training: {schedule: {type: cosine, warmup: 5 parsecs}}",
            "3:45 training.schedule.warmup '5 parsecs' is not a training duration (examples: 5%, 500 steps, 2 epochs)",
        ),
        ("training: {precision: fp8}", "3:23 training.precision 'fp8' is not one of auto, fp32, bf16"),
        ("training: []", "3:11 training expected an object, got a list"),
        ("training:", "3:10 training expected an object, got nothing"),
        ("training: fast", "3:11 training expected an object, got 'fast'"),
        ("architecture: 3", "3:15 architecture expected an object or a word such as 'perceptron', got 3"),
        (
            "architecture: cnnn",
            "3:15 architecture 'cnnn' is not one of perceptron, mlp, cnn, unet, detector, torchvision-detector, vit, "
            "backbone, autoencoder, "
            "feature-distance, captioner, rnn, transformer, pretrained, gan, vae, diffusion, tabular-diffusion, "
            "custom; "
            "did you mean 'cnn'?",
        ),
        ("architecture: {family: mlp, hidden: 64}", "3:37 architecture.hidden expected a list, got 64 (example: [64])"),
        ("architecture: {family: mlp, hidden: []}", "3:37 architecture.hidden expected at least 1 entry, got none"),
        ("architecture: {family: mlp, hidden: [8, 0]}", "3:41 architecture.hidden.1 0 is too small: at least 1"),
        ("architecture: {family: mlp, dropout: 1}", "3:38 architecture.dropout 1 is too large: less than 1"),
        (
            "architecture: custom",
            "3:15 architecture.class required: the class of your network (example: class: my_model:Network)",
        ),
        (
            "architecture: {family: custom, class: my model}",
            "3:39 architecture.class 'my model' is not module:Class (example: my_model:Network)",
        ),
        (
            "training: {checkpoint: {every: 0 steps}}",
            "3:32 training.checkpoint.every '0 steps' is not a duration above 0 "
            "(examples: 1 epoch, 500 steps, 5%, 10 min)",
        ),
        ("training: {checkpoint: {keep: 0}}", "3:31 training.checkpoint.keep 0 is too small: at least 1"),
        (
            "training: {start_from: 'run:'}",
            "3:24 training.start_from must name a run (example: run:digits-cnn-7f3a9c21)",
        ),
        ("resources: {retries: -1}", "3:22 resources.retries -1 is too small: at least 0"),
        (
            "resources: {timeout: 2 epochs}",
            "3:22 resources.timeout '2 epochs' is not a length of time (examples: 90 s, 10 min, 2 h)",
        ),
        ("environment: {env: {A: 1}}", "3:24 environment.env.A expected text, got 1; put it in quotes"),
        (
            "environment: {env: {1A: x}}",
            "3:25 environment.env.1A '1A' is not the name of an environment variable: "
            "letters, digits and '_', no digit first (example: DATA_ROOT)",
        ),
        (
            "environment: {env: {'[key]': x}}",
            "3:30 environment.env.[key] '[key]' is not the name of an environment variable: "
            "letters, digits and '_', no digit first (example: DATA_ROOT)",
        ),
        (
            "environment: {env: {TOKEN: '${TOKEN}'}}",
            "3:28 environment.env.TOKEN ${NAME} is allowed in dataset.source and tracking only; write the value",
        ),
        ('environment: {code: "a\\0"}', "3:21 environment.code a NUL character is not allowed here"),
        ("resources: {workers: 0}", "3:22 resources.workers 0 is too small: at least 1"),
        ("tracking: nonee", "3:11 tracking 'nonee' is neither 'none' nor an object; did you mean 'none'?"),
        ("tracking: [a]", "3:11 tracking expected an object, got a list"),
        ("tracking: {register: a/b}", "3:22 tracking.register 'a/b' may hold neither '/' nor ':'"),
        ("tracking: {experiment: ''}", "3:24 tracking.experiment expected at least 1 character, got none"),
        ("name: 010", "3:7 name expected text, got 10; put it in quotes"),
        (
            "name: Foo Bar",
            "3:7 name 'Foo Bar' is not usable: "
            "lower-case letters, digits and '-', a letter first, at most 38; use 'foo-bar'",
        ),
        ("version: 2", "3:10 version 2 is not known; use 1"),
        ("name: ${HOME}", "3:7 name ${NAME} is allowed in dataset.source and tracking only; write the value"),
        (
            "tracking: {experiment: '${NOT_SET_ANYWHERE}'}",
            "3:24 tracking.experiment the environment variable NOT_SET_ANYWHERE is not set",
        ),
        (
            "tracking: {experiment: '${1}'}",
            "3:24 tracking.experiment expected ${NAME}: letters, digits and '_' between the braces",
        ),
    ],
)
def test_a_wrong_value_is_reported_in_plain_words(lines: str, expected: str):
    assert mistakes(f"{SMALLEST}{lines}\n") == [expected]


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (
            "{source: digits, split: non}",
            "2:34 dataset.split 'non' is neither 'none' nor an object; did you mean 'none'?",
        ),
        ("{source: digits, split: [1]}", "2:34 dataset.split expected an object, got a list"),
        ("{source: digits, split: {vall: 0.1}}", "2:35 dataset.split.vall unknown key; did you mean 'val'?"),
        ("{source: digits, split: {train: x}}", "2:42 dataset.split.train 'x' is not a number (example: 3e-4)"),
        ("{source: digits, split: {train: 1}}", "2:34 dataset.split the shares add up to 1.2, more than 1"),
        ("{source: digits, image: {size: [8]}}", "2:41 dataset.image.size expected 2 entries, got 1"),
        (
            "{source: digits, image: {augment: flip}}",
            "2:44 dataset.image.augment expected a list, got 'flip' (example: ['flip'])",
        ),
        (
            "{source: digits, image: {augment: [flp]}}",
            "2:45 dataset.image.augment.0 'flp' is not one of flip, turn, crop, zoom, rotate, jitter, erase, "
            "randaugment; "
            "did you mean 'flip'?",
        ),
        ("{source: digits, columns: {types: [a]}}", "2:44 dataset.columns.types expected an object, got a list"),
        (
            "{source: digits, columns: {types: {a: mask}}}",
            "2:48 dataset.columns.types.a 'mask' is not one of number, time, category, text, image, words, dialogue",
        ),
        ("{source: 3}", "2:19 dataset.source expected text, got 3; put it in quotes"),
        ("[digits]", "2:10 dataset expected an object or a word such as 'digits', got a list"),
    ],
)
def test_a_wrong_dataset_is_reported_in_plain_words(dataset: str, expected: str):
    assert mistakes(f"task: image-classification\ndataset: {dataset}\n") == [expected]


def test_a_missing_key_is_reported_with_an_example():
    assert mistakes("name: a\n") == [
        "1:1 task required: kind of problem to solve (example: task: instruction-tuning)",
        "1:1 dataset required: samples to learn from (example: dataset: digits)",
    ]
    source = (
        "a built-in name (see `stoker list datasets`), a path to a file or folder, a pattern such as `data/*.csv`, "
        "or an address"
    )
    assert mistakes("task: image-classification\ndataset: {}\n") == [
        f"2:10 dataset.source required: {source} (example: source: digits)"
    ]


def test_no_message_contains_pydantics_own_text():
    text = "task: [1]\ndataset: {source: {}, split: 3, image: {size: a}, format: x}\n"
    text += "training: {schedule: 1}\nversion: []\n"
    messages = " ".join(mistakes(text))
    assert not any(
        word in messages.lower()
        for word in ("pydantic", "input", "validat", "type=", "function", "instance", "literal")
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="ascii"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "family", "a", "0"]), inner, max_size=3)
    ),
    max_leaves=5,
)
FOREIGN = ("pydantic", "input should", "valid ", "type=", "function-", "instance of", "does not fit here")


@given(st.sampled_from(sorted({path for path, _ in walk()})), values)
@settings(max_examples=150)
def test_any_value_of_any_key_is_accepted_or_explained(path: str, value: object):
    lines = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True)
    problems: tuple[Problem, ...] = ()
    try:
        parse_job(SMALLEST, "job.yaml", [f"{path}={lines.removesuffix('...' + chr(10)).strip()}"])
    except JobError as error:
        problems = error.problems
    for problem in problems:
        assert not any(word in problem.message.replace(str(value), "") for word in FOREIGN), problem
        assert "section" not in problem.path
