import pytest

from stoker.errors import JobError
from stoker.job.task import TASKS
from stoker.jobfile.loading import dump_job, parse_job

IMAGES = "task: image-classification\ndataset: digits\n"
GAN = "task: image-generation\ndataset: digits\narchitecture: gan\ntraining:\n  optimizer:\n"
TEXTS = "task: text-classification\ndataset: texts.csv\n"
TABLE = "task: tabular-classification\ndataset: iris\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(JobError) as raised:
        parse_job(text, "job.yaml")
    return [f"{p.line}:{p.column} {p.path} {p.message}" for p in raised.value.problems]


SOURCES = {
    "tabular-classification": "iris",
    "tabular-regression": "diabetes",
    "table-generation": "wine",
    "image-classification": "digits",
    "segmentation": "nuclei",
    "object-detection": "blood-cells",
    "image-generation": "digits",
    "anomaly-detection": "digits",
    "reconstruction": "digits",
    "image-captioning": "shapes-captions",
    "text-classification": "reviews.csv",
    "multi-label-classification": "films.csv",
    "text-generation": "plays.txt",
    "token-classification": "news.conll",
    "translation": "pairs.csv",
    "summarization": "papers.jsonl",
    "fill-mask": "reviews.csv",
    "question-answering": "questions.csv",
    "instruction-tuning": "dialogues.jsonl",
}


NEEDING = {
    "backbone": "{family: backbone, backbone: resnet18}",
    "custom": "{family: custom, class: my_model:Net}",
    "pretrained": "{family: pretrained, model: my/model}",
}
"""Families with a key that every job sets."""


@pytest.mark.parametrize(("task", "source"), [(task, SOURCES[task]) for task in TASKS])
def test_each_task_accepts_its_families_and_its_best_metric(task: str, source: str):
    row = TASKS[task]  # type: ignore[index]
    best = f"{row.best or 'loss'}/val"
    for family in row.families:
        written = NEEDING.get(family, family)
        text = f"task: {task}\ndataset: {source}\narchitecture: {written}\n"
        job = parse_job(f"{text}training: {{checkpoint: {{best: {best}}}}}\n", "job.yaml").job
        assert job.architecture is not None
        assert job.architecture.family == family


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            TABLE + "architecture: cnn",
            "3:15 architecture.family cnn does not fit tabular-classification; use mlp or perceptron or custom",
        ),
        (
            TABLE + "architecture: {family: cnn}",
            "3:24 architecture.family cnn does not fit tabular-classification; use mlp or perceptron or custom",
        ),
        (
            IMAGES + "architecture: {family: cnn, kernel: 4}",
            "3:37 architecture.kernel 4 is even; a kernel size must be odd: use 3 or 5",
        ),
        (
            TEXTS + "architecture: {family: pretrained, model: my/model, lora: {rank: 4}, frozen: 2}",
            "3:78 architecture.frozen does nothing with lora, which trains none of the model's own weights; "
            "leave it out",
        ),
        (
            "task: text-classification\ndataset: {source: texts.csv, text: {tokens: bpe}}\n"
            "architecture: {family: pretrained, model: my/model}",
            "2:45 dataset.text.tokens does nothing for pretrained, which cuts texts by its model's tokenizer; "
            "leave it out",
        ),
        (
            "task: text-classification\ndataset: {source: texts.csv, text: {tokenizer: my/model, vocabulary: 500}}",
            "2:70 dataset.text.vocabulary does nothing for dataset.text.tokenizer; leave it out",
        ),
        (
            "task: fill-mask\ndataset: {source: texts.csv, text: {prefix: 'a: '}}",
            "2:45 dataset.text.prefix does nothing for fill-mask, whose texts are read as they stand; leave it out",
        ),
        (
            "task: token-classification\ndataset: {source: a.conll, text: {tokenizer: my/model}}",
            "2:46 dataset.text.tokenizer does nothing for token-classification but with pretrained: "
            "other networks are given words; leave it out",
        ),
        (
            "task: tabular-classification\ndataset: digits",
            "2:10 dataset.source 'digits' does not fit tabular-classification; "
            "it is for image-classification or image-generation or anomaly-detection or reconstruction",
        ),
        (
            "task: image-classification\ndataset: {source: digits, format: idx}",
            "2:35 dataset.format does nothing for 'digits', which is built in; leave it out",
        ),
        (
            "task: image-classification\ndataset: {source: digits, encoding: latin-1}",
            "2:37 dataset.encoding does nothing for 'digits', which is built in; leave it out",
        ),
        (
            "task: tabular-regression\ndataset: {source: x.parquet, encoding: latin-1, columns: {label: y}}",
            "2:40 dataset.encoding does nothing for the format parquet, which is not text; leave it out",
        ),
        (
            "task: tabular-regression\ndataset: {source: x.csv, columns: {label: y, clean: true}}",
            "2:53 dataset.columns.clean does nothing for tabular-regression, which has no classes; leave it out",
        ),
        (
            "task: text-classification\ndataset: {source: x.csv, columns: {label: y, scaling: quantile}}",
            "2:55 dataset.columns.scaling does nothing for text-classification, which reads no numbers; leave it out",
        ),
        (
            "task: image-classification\ndataset: {source: digits, columns: {normal: [1]}}",
            "2:45 dataset.columns.normal does nothing for image-classification, which finds no anomalies; leave it out",
        ),
        *(
            (
                f"task: {task}\ndataset: {SOURCES[task]}\narchitecture: {{family: {family}, backbone: resnet81}}",
                f"3:{len(family) + 36} architecture.backbone.name no network 'resnet81' in torchvision and timm; "
                "did you mean 'resnet18'?",
            )
            for task, family in {
                "image-classification": "backbone",
                "segmentation": "unet",
                "object-detection": "detector",
                "anomaly-detection": "feature-distance",
                "image-captioning": "captioner",
            }.items()
        ),
        (
            "task: image-classification\ndataset: digits\ntraining: {threshold: 0.9}",
            "3:23 training.threshold does nothing for image-classification; leave it out (it is for anomaly-detection)",
        ),
        (
            "task: image-classification\ndataset: {source: x.txt, format: text}",
            "2:34 dataset.format text does not fit image-classification; "
            "use csv or jsonl or parquet or idx or npz or image-folder or webdataset",
        ),
        (
            "task: tabular-regression\ndataset: {source: x, format: idx}",
            "2:30 dataset.format idx does not fit tabular-regression; use csv or jsonl or parquet or npz or webdataset",
        ),
        (
            "task: segmentation\ndataset: {source: x, format: idx}",
            "2:30 dataset.format idx does not fit segmentation; "
            "use csv or jsonl or parquet or npz or image-mask or coco-masks or webdataset",
        ),
        (
            "task: text-classification\ndataset: {source: x.csv, image: {size: 8}}",
            "2:40 dataset.image.size does nothing for text-classification, which has no images; leave it out",
        ),
        (
            "task: image-classification\ndataset: {source: digits, text: {length: 8}}",
            "2:42 dataset.text.length does nothing for image-classification, which has no texts; leave it out",
        ),
        (
            "task: tabular-classification\ndataset: {source: x.csv, columns: {label: y, group: g}, split: none}",
            "2:53 dataset.columns.group does nothing with split: none; leave it out",
        ),
        (
            "task: image-classification\ndataset: {source: digits, columns: {label: y}}",
            "2:44 dataset.columns.label does nothing for image-classification, which has no columns; leave it out",
        ),
        (
            "task: tabular-classification\ndataset: {source: iris, image: {size: 8}}",
            "2:39 dataset.image.size does nothing for tabular-classification, which has no images; leave it out",
        ),
        (
            "task: tabular-classification\ndataset: {source: iris, columns: {label: a, drop: [a]}}",
            "2:51 dataset.columns.drop 'a' is the label column; it cannot be left out",
        ),
        (
            "task: tabular-classification\ndataset: {source: iris, columns: {label: a, features: [a]}}",
            "2:55 dataset.columns.features 'a' is the label; it cannot be a feature",
        ),
        (
            "task: tabular-classification\ndataset: {source: iris, columns: {features: [a], drop: [a]}}",
            "2:56 dataset.columns.drop 'a' is also one of the features; list it in one place only",
        ),
        (
            "task: tabular-classification\ndataset: {source: x.csv, split: {column: part, val: 0.05}}",
            "2:53 dataset.split.val does nothing with dataset.split.column; leave it out",
        ),
        (
            "task: tabular-classification\ndataset: {source: x.csv, split: {column: part, time: date}}",
            "2:54 dataset.split.time does nothing with dataset.split.column; leave it out",
        ),
        (
            "task: tabular-classification\ndataset: {source: x.csv, split: {time: date, stratify: false}}",
            "2:56 dataset.split.stratify does nothing with dataset.split.time; leave it out",
        ),
        (
            "task: tabular-classification\ndataset: {source: x.csv, split: {time: date}, columns: {group: g}}",
            "2:64 dataset.columns.group does nothing with dataset.split.time; leave it out",
        ),
        (
            "task: tabular-classification\ndataset: {source: x.csv, split: {column: y}, columns: {label: y}}",
            "2:42 dataset.split.column 'y' is the label column; the split needs a column of its own",
        ),
        (
            "task: tabular-classification\ndataset: {source: x.csv, split: {time: date}, columns: {drop: [date]}}",
            "2:63 dataset.columns.drop 'date' is the column of the split; it cannot be left out",
        ),
        (
            "task: tabular-classification\ndataset: {source: x.csv, split: {column: p}, columns: {features: [p]}}",
            "2:66 dataset.columns.features 'p' names the part of each row; it cannot be a feature",
        ),
        (
            "task: image-classification\ndataset: {source: digits, split: {column: part}}",
            "2:43 dataset.split.column there is no column 'part': the samples do not come from a table",
        ),
        (
            IMAGES + "training: {batch_size: 4, micro_batch: 8}",
            "3:40 training.micro_batch 8 is more than training.batch_size (4); use 4 or less",
        ),
        (
            IMAGES + "training: {batch_size: 4}\nresources: {workers: 8}",
            "3:24 training.batch_size 4 is less than resources.workers (8); use 8 or more, or at most 4 workers",
        ),
        (
            IMAGES + "resources: {workers: 2, gpus: 0.5}",
            "3:31 resources.gpus 0.5: workers of one run cannot share a GPU; use 1, or workers: 1",
        ),
        (
            IMAGES + "resources: {gpus: 2}",
            "3:19 resources.gpus each worker trains on one GPU, more are for an entrypoint; set workers: 2 and gpus: 1",
        ),
        (
            IMAGES + "resources: {gpus: 1.5}",
            "3:19 resources.gpus 1.5 is neither a whole number nor a fraction of one GPU such as 0.25",
        ),
        (
            IMAGES + "training: {optimizer: {type: sgd, momentum: 0, nesterov: true}}",
            "3:58 training.optimizer.nesterov needs a momentum above 0 (example: momentum: 0.9)",
        ),
        (
            GAN + "    generator: {type: sgd, momentum: 0, nesterov: true}\n    discriminator: adam",
            "6:51 training.optimizer.generator.nesterov needs a momentum above 0 (example: momentum: 0.9)",
        ),
        (
            "task: tabular-classification\ndataset: iris\ntraining: {evaluate: {every: 5}}",
            "3:30 training.evaluate.every does nothing for tabular-classification: its metrics are computed after each "
            "epoch, and it has no pictures; leave it out",
        ),
        (
            "task: segmentation\ndataset: nuclei\ntraining: {evaluate: {every: 5, samples: 9}}",
            "3:42 training.evaluate.samples does nothing for segmentation, whose metrics are all computed on all "
            "samples; leave it out",
        ),
        (
            "task: segmentation\ndataset: nuclei\ntraining: {evaluate: {features: trained}}",
            "3:33 training.evaluate.features does nothing for segmentation, which compares no images by features; "
            "leave it out (it is for image-generation)",
        ),
        (
            "task: image-generation\ndataset: digits\ntraining: {checkpoint: {best: fid/val}}",
            "3:31 training.checkpoint.best 'fid/val' is measured by features; set training.evaluate.features, such as "
            "trained",
        ),
        (
            "task: image-generation\ndataset: digits\ntraining: {evaluate: {every: 50%}}",
            "3:30 training.evaluate.every '50%' is not a whole number of epochs above 0 (examples: 1 epoch, 5 epochs)",
        ),
        (
            "task: image-classification\ndataset: digits\nresources: {workers: 12, workers_per_node: 8}",
            "3:44 resources.workers_per_node 12 workers do not fill nodes of 8; use 8 or 16 workers",
        ),
        (
            IMAGES + "training: {parallel: fsdp}\nresources: {workers: {max: 4}}",
            "4:13 resources.workers.min 1: a single worker would hold all weights, which fsdp divides; use 2",
        ),
        (
            IMAGES + "training: {time: 10 min}\nresources: {workers: {max: 4}}",
            "3:18 training.time how many steps fit follows from the number of workers, which may change; "
            "set training.epochs or steps, too",
        ),
        (
            IMAGES + "training: {parallel: fsdp}",
            "3:22 training.parallel one worker has nothing to divide; set resources.workers, or leave it out",
        ),
        (
            "task: image-generation\ndataset: digits\ntraining: {parallel: fsdp}\nresources: {workers: 2}",
            "3:22 training.parallel the weights of gan are not divided, those of mlp, cnn, vit, transformer, "
            "pretrained, custom are; use replicated",
        ),
        (
            "task: text-classification\ndataset: reviews.csv\ntraining: {parallel: fsdp}\nresources: {workers: 2}",
            "3:22 training.parallel the weights of rnn are not divided, those of mlp, cnn, vit, transformer, "
            "pretrained, custom are; use replicated",
        ),
        (
            IMAGES + "training: {parallel: fsdp, optimizer: muon}\nresources: {workers: 2}",
            "3:39 training.optimizer muon computes with whole matrices, which fsdp divides; use adamw",
        ),
        (
            IMAGES + "training: {parallel: fsdp, time: 10 min}\nresources: {workers: 2}",
            "3:34 training.time its steps are found out by timing whole weights, which fsdp has not; "
            "set training.epochs or steps, too",
        ),
        (
            IMAGES + "resources: {workers: {min: 4, max: 16}, workers_per_node: 8}",
            "3:59 resources.workers_per_node 4 workers do not fill nodes of 8; use 8 workers",
        ),
        (
            IMAGES + "resources: {workers: {min: 3, max: 2}}",
            "3:28 resources.workers.min 3 is more than max (2); write {min: 2, max: 3}",
        ),
        (
            IMAGES + "resources: {workers: {min: 3}}",
            "3:13 resources.workers.max required: it takes so many where there is room, also while it trains "
            "(example: max: 16)",
        ),
        (
            IMAGES + "resources: {workers: {max: 3, lest: 2}}",
            "3:31 resources.workers.lest unknown key; the keys here are min, max",
        ),
        (
            IMAGES + "resources: {workers: four}",
            "3:22 resources.workers 'four' is not a whole number (example: 10)",
        ),
        (
            "task: image-classification\ndataset: digits\nresources: {workers: 2, gpus: 4}",
            "3:31 resources.gpus each worker trains on one GPU, more are for an entrypoint; set workers: 8 and gpus: 1",
        ),
    ],
)
def test_contradictory_settings_are_reported(text: str, expected: str):
    assert mistakes(text) == [expected]


def test_long_texts_can_be_refused_where_they_would_be_cut_off():
    refused = "{source: a.txt, text: {long: refuse}}"
    assert mistakes(f"task: text-generation\ndataset: {refused}\n") == [
        "2:39 dataset.text.long does nothing for text-generation, which learns texts of any length in pieces; "
        "leave it out"
    ]
    model = "architecture: {family: pretrained, model: my/model}"
    for rest in ("task: fill-mask", f"task: question-answering\n{model}"):
        assert parse_job(f"dataset: {refused}\n{rest}\n", "job.yaml").task_job.dataset.text.long == "refuse"


LOSS_VALUES = [
    ("class_weights", "balanced"),
    ("class_weights", "{a: 2}"),
    ("label_smoothing", "0.1"),
    ("mixup", "0.2"),
    ("cutmix", "1"),
]


def fitting(key: str) -> str:
    return ", ".join(task for task, row in TASKS.items() if key in row.loss_settings)


@pytest.mark.parametrize(
    ("task", "key", "value"),
    [(task, key, value) for task, row in TASKS.items() for key, value in LOSS_VALUES if key not in row.loss_settings],
)
def test_settings_that_a_tasks_loss_does_not_have_are_reported(task: str, key: str, value: str):
    text = f"task: {task}\ndataset: {SOURCES[task]}\ntraining: {{{key}: {value}}}"
    place = f"3:{14 + len(key)} training.{key}"
    assert mistakes(text) == [f"{place} does nothing for {task}; leave it out (it is for {fitting(key)})"]
    parse_job(f"task: {task}\ndataset: {SOURCES[task]}\ntraining: {{label_smoothing: 0}}", "job.yaml")


@pytest.mark.parametrize("task", [task for task, row in TASKS.items() if "class_weights" in row.loss_settings])
def test_settings_of_a_tasks_loss_are_accepted_and_written_out_again(task: str):
    for weights in ("balanced", "{a: 2, 0: 0.5}"):
        smoothed = "label_smoothing" in TASKS[task].loss_settings
        training = f"{{class_weights: {weights}{', label_smoothing: 0.1' if smoothed else ''}}}"
        job = parse_job(f"task: {task}\ndataset: {SOURCES[task]}\ntraining: {training}", "job.yaml").job
        assert job.training.class_weights == ("balanced" if weights == "balanced" else {"a": 2.0, "0": 0.5})
        assert parse_job(dump_job(job), "job.yaml").job == job


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("acuracy/val", "'acuracy/val' is not a metric of image-classification; did you mean 'accuracy/val'?"),
        (
            "rmse/val",
            "'rmse/val' is not a metric of image-classification; "
            "known are loss, accuracy, f1, auroc, each with /val or /train",
        ),
        ("accuracy", "'accuracy' needs a part of the data; use accuracy/val or accuracy/train"),
        ("accuracy/test", "the test part is used once, at the end; use accuracy/val"),
    ],
)
def test_a_metric_must_be_one_of_the_task(metric: str, expected: str):
    assert mistakes(f"{IMAGES}training: {{checkpoint: {{best: {metric}}}}}") == [
        f"3:31 training.checkpoint.best {expected}"
    ]
    assert mistakes(f"{IMAGES}training: {{early_stopping: {{metric: {metric}}}}}") == [
        f"3:37 training.early_stopping.metric {expected}"
    ]


def test_a_custom_class_may_record_metrics_that_its_task_does_not_have():
    custom = f"{IMAGES}architecture: {{family: custom, class: my_model:Net}}\ntraining: {{checkpoint: {{best: "
    parse_job(f"{custom}critic/train}}}}\n", "job.yaml")
    assert mistakes(f"{custom}critic}}}}\n") == [
        "4:31 training.checkpoint.best 'critic' is not a metric of image-classification; "
        "known are loss, accuracy, f1, auroc, each with /val or /train"
    ]


@pytest.mark.parametrize("split", ["none", "{val: 0}"])
def test_validation_metrics_need_a_validation_part(split: str):
    start = f"task: image-classification\ndataset: {{source: digits, split: {split}}}\ntraining: "
    cure = "; give dataset.split.val a share, or set training.checkpoint.best to a metric such as loss/train"
    assert mistakes(f"{start}{{checkpoint: {{best: loss/val}}}}") == [
        "3:31 training.checkpoint.best 'loss/val' cannot be measured: there is no validation part; "
        "use loss/train, or give dataset.split.val a share"
    ]
    assert mistakes(f"{start}{{early_stopping: {{patience: 3}}}}") == [
        f"3:28 training.early_stopping has nothing to watch: there is no validation part{cure}"
    ]
    assert mistakes(f"{start}{{schedule: plateau}}") == [
        f"3:22 training.schedule plateau has nothing to watch: there is no validation part{cure}"
    ]
    parse_job(f"{start}{{schedule: plateau, early_stopping: {{}}, checkpoint: {{best: loss/train}}}}", "job.yaml")


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("{type: adam, lr: -1}", "6:33 training.optimizer.generator.lr -1 is too small: more than 0"),
        (
            "{type: adam, lrr: 1}",
            "6:29 training.optimizer.generator.lrr unknown key for adam; did you mean 'lr'?",
        ),
        (
            "adamx",
            "6:16 training.optimizer.generator 'adamx' is not one of sgd, adam, adamw, muon; did you mean 'adam'?",
        ),
        (
            "{lr: 0.1}",
            "6:5 training.optimizer.generator.type required: one of sgd, adam, adamw, muon (example: type: sgd)",
        ),
        ("7", "6:16 training.optimizer.generator expected an object or a word such as 'sgd', got 7"),
    ],
)
def test_a_mistake_in_the_optimizer_of_a_group_stands_where_it_is(optimizer: str, expected: str):
    assert mistakes(f"{GAN}    generator: {optimizer}\n    discriminator: adam") == [expected]


@pytest.mark.parametrize(("optimizer", "column"), [("{}", 23), ("{lr: 1e-3}", 12)])
def test_one_optimizer_without_its_type_is_not_taken_for_groups(optimizer: str, column: int):
    assert mistakes(f"{TABLE}training: {{optimizer: {optimizer}}}") == [
        f"3:{column} training.optimizer.type required: one of sgd, adam, adamw, muon (example: type: sgd)"
    ]


def test_valid_sections_are_checked_next_to_an_invalid_one():
    assert mistakes(f"{TABLE}architecture: cnn\nresources: {{workers: 0}}") == [
        "3:15 architecture.family cnn does not fit tabular-classification; use mlp or perceptron or custom",
        "4:22 resources.workers 0 is too small: at least 1",
    ]
