import json

import pytest

from stoker.errors import NotFound
from stoker.jobfile.documentation import job_schema, key_document
from stoker.jobfile.language import walk


def test_every_key_has_documentation_and_an_example():
    for path, _ in walk():
        document = key_document(path)
        assert document.documentation, path
        assert document.type, path
        assert document.example.startswith(path.rpartition(".")[2]), path
        assert document.example.partition(":")[2].strip(), path


def test_a_choice_is_documented_with_the_keys_of_each_member():
    document = key_document("training.optimizer")
    assert document.default == "adamw"
    assert [choice.name for choice in document.choices] == ["sgd", "adam", "adamw", "muon"]
    assert [line.name for line in document.choices[0].keys] == ["type", "lr", "momentum", "nesterov", "weight_decay"]
    assert key_document("training.optimizer.lr").default == "0.05 (sgd), 0.001 (adam), 0.002 (adamw), 0.02 (muon)"


def test_the_empty_path_documents_the_whole_job():
    document = key_document("")
    assert [line.name for line in document.keys][:3] == ["version", "name", "task"]
    assert [line.default for line in document.keys][:3] == ["1", "", "required"]


def test_the_type_of_a_word_or_an_object_has_both():
    assert key_document("training.class_weights").type == "balanced, or an object whose values are: a number"


def test_the_type_of_a_section_or_none_has_both():
    assert key_document("tracking").type == "an object, or none"
    assert key_document("tracking.register").documentation.startswith("Register the model under this name")


def test_a_list_of_objects_is_documented_with_the_keys_of_the_objects():
    document = key_document("sweep.metric")
    assert document.type == "a list of: an object, or text for its 'name'"
    assert [line.name for line in document.keys] == ["name", "direction"]
    assert key_document("sweep.metric.direction").type == "max | min"
    assert [choice.name for choice in key_document("sweep.scheduler").choices][:3] == ["none", "asha", "median"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("training.optimzer", "no key 'training.optimzer' in a job; did you mean 'optimizer'?"),
        ("training.epochs.x", "no key 'training.epochs.x' in a job"),
        (
            "zzz",
            "no key 'zzz' in a job; "
            "the keys here are version, name, task, architecture, dataset, training, resources, environment, tracking, "
            "sweep",
        ),
    ],
)
def test_an_unknown_key_is_not_found(path: str, expected: str):
    with pytest.raises(NotFound) as raised:
        key_document(path)
    assert str(raised.value) == expected


def test_the_schema_is_closed_and_has_descriptions_and_shorthands():
    schema = job_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert "extends" in schema["properties"]
    assert {
        "type": "string",
        "enum": [
            "perceptron",
            "mlp",
            "cnn",
            "unet",
            "detector",
            "torchvision-detector",
            "vit",
            "backbone",
            "autoencoder",
            "feature-distance",
            "captioner",
            "rnn",
            "transformer",
            "pretrained",
            "gan",
            "vae",
            "diffusion",
            "tabular-diffusion",
            "custom",
        ],
    } in _strings(schema["properties"]["architecture"])
    sections = [each for each in schema["$defs"].values() if each.get("type") == "object"]
    assert sections
    for section in [schema, *sections]:
        assert section["additionalProperties"] is False or section["title"] == "Custom"
        assert all(each.get("description") for each in section["properties"].values())
    json.dumps(schema)


def _strings(schema: object) -> list[object]:
    if isinstance(schema, dict):
        return [schema, *(found for below in schema.values() for found in _strings(below))]
    return [found for below in schema for found in _strings(below)] if isinstance(schema, list) else []
