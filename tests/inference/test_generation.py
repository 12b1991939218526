"""New samples of a model that makes some."""

import numpy as np
import pytest

from stoker.errors import JobError
from stoker.inference.generation import BATCH, generate
from stoker.inference.model import Model, save_model
from stoker.training.assembly import assemble
from stoker.training.loop import start, train
from stoker.training.preparation import prepare


@pytest.fixture(scope="module", params=["classes", "no classes"])
def gan(request, tiny_data, make_job, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A GAN of dark and bright images, with and without their classes."""
    dataset = dict(tiny_data("image-generation"))
    if request.param == "no classes":
        dataset["source"] = dataset["source"].replace("images.npz", "unlabelled.npz")
    network = {"family": "gan", "channels": [4, 8], "latent": 5}
    training = {"epochs": 1, "batch_size": 20, "precision": "fp32"}
    job = make_job("image-generation", dataset, architecture=network, training=training)
    assembly = assemble(prepare(job))
    for _ in train("r", start(assembly)):
        pass
    folder = tmp_path_factory.mktemp("gan")
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return Model.load(folder)


def known(model: Model) -> tuple[str, ...]:
    return model.fields.signature.classes


def test_the_same_seed_makes_the_same_images(gan):
    first, again, other = (list(generate(gan, BATCH + 3, seed)) for seed in (4, 4, 5))
    assert len(first) == BATCH + 3
    for (name, image), (same_name, same) in zip(first, again, strict=True):
        assert image.shape == (8, 8, 1)
        assert image.dtype == np.uint8
        assert name == same_name
        assert np.array_equal(image, same)
    assert not any(np.array_equal(a, b) for (_, a), (_, b) in zip(first, other, strict=True))
    assert len({image.tobytes() for _, image in first}) == len(first)


def test_an_image_does_not_depend_on_how_many_are_made(gan):
    few, many = list(generate(gan, 3, seed=5)), list(generate(gan, 70, seed=5))
    for (_, one), (_, other) in zip(few, many, strict=False):
        assert abs(one.astype(int) - other.astype(int)).max() <= 1  # a batch of another size may round otherwise


def test_classes_come_in_turn(gan):
    every = [name for name, _ in generate(gan, 5, 0)]
    assert every == (["bright", "dark", "bright", "dark", "bright"] if known(gan) else [""] * 5)
    if known(gan):
        assert {name for name, _ in generate(gan, 3, 0, ("dark",))} == {"dark"}
        assert [name for name, _ in generate(gan, 3, 0, ("dark", "bright"))] == ["dark", "bright", "dark"]


def test_a_class_that_the_model_does_not_know_is_told(gan):
    there = "it knows bright, dark" if known(gan) else "it was trained without classes"
    with pytest.raises(JobError) as caught:
        list(generate(gan, 1, 0, ("dim",)))
    assert str(caught.value) == f"the model has no class dim; {there}"


def test_a_model_that_generates_predicts_nothing(gan):
    with pytest.raises(JobError, match=r"has nothing to predict; use stoker generate$"):
        gan.predict(np.zeros((2, 8, 8, 1), np.uint8))


def test_a_model_that_predicts_generates_nothing(images):
    with pytest.raises(JobError, match=r"^a model of image-classification makes no samples; use stoker predict$"):
        list(generate(images.model, 1, 0))


def test_the_model_is_the_averaged_generator_alone(gan):
    names = set(gan.objective.network.state_dict())
    assert names
    assert all(name.startswith("generator.") for name in names)
