import pytest
import torch

from stoker.architectures.inputs import Flat, embedding_width, example_inputs
from stoker.architectures.network import build_network, misfits, parameter_count, with_default_sizes
from stoker.job.architecture.cnn import Cnn
from stoker.job.architecture.mlp import Mlp
from stoker.job.architecture.perceptron import Perceptron
from stoker.job.architecture.vit import Vit
from stoker.job.signature import CategoriesInput, ClassOutput, ImageInput, NumbersInput, Signature, ValueOutput

CLASSES = ClassOutput(("a", "b", "c"))
IMAGE = Signature({"image": ImageInput(3, 16, 12)}, CLASSES)
TABLE = Signature({"numbers": NumbersInput(4), "categories": CategoriesInput((3, 10))}, CLASSES)
NUMBER = Signature({"numbers": NumbersInput(4)}, ValueOutput("y", 0.0, 1.0))


@pytest.mark.parametrize(
    ("architecture", "signature", "outputs"),
    [
        (Perceptron(family="perceptron"), TABLE, 3),
        (Perceptron(family="perceptron"), IMAGE, 3),
        (Mlp(family="mlp", hidden=(8,), dropout=0.5, activation="gelu"), TABLE, 3),
        (Mlp(family="mlp", hidden=(8, 4)), NUMBER, 1),
        (Mlp(family="mlp", hidden=(8,)), IMAGE, 3),
        (Cnn(family="cnn", channels=(8, 12)), IMAGE, 3),
        (Cnn(family="cnn", channels=(4, 4, 8), blocks="residual", kernel=5, dropout=0.1), IMAGE, 3),
    ],
)
def test_the_output_has_the_shape_of_the_signature(architecture, signature, outputs):
    network = build_network(architecture, signature).eval()
    output = network(example_inputs(signature, 5, "cpu"))
    assert output.shape == (5, outputs)
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("blocks", ["plain", "residual"])
def test_a_samples_output_depends_on_that_sample_alone(blocks):
    network = build_network(Cnn(family="cnn", channels=(8, 8), blocks=blocks), IMAGE)
    images = torch.randn(4, 3, 16, 12)
    together = network({"image": images})
    alone = torch.cat([network({"image": image[None]}) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [Cnn(family="cnn", channels=(4, 8)), Vit(family="vit", width=8, heads=2, layers=1, patch=4)],
)
def test_a_mirrored_network_answers_alike_for_an_image_and_its_mirror_image(settings):
    network = build_network(settings.model_copy(update={"mirrored": True}), IMAGE)
    images = torch.randn(4, 3, 16, 12)
    training = network({"image": images}), network({"image": images.flip(3)})
    network.eval()
    one, other = network({"image": images}), network({"image": images.flip(3)})
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one, (training[0] + training[1]) / 2)
    assert not torch.allclose(*training, atol=1e-3)


def test_a_perceptron_is_linear():
    network = build_network(Perceptron(family="perceptron"), NUMBER)
    inputs = {"numbers": torch.randn(2, 4)}
    middle = {"numbers": inputs["numbers"].mean(dim=0, keepdim=True)}
    torch.testing.assert_close(network(middle), network(inputs).mean(dim=0, keepdim=True))


def test_parameters_are_counted():
    network = build_network(Mlp(family="mlp", hidden=(8,)), NUMBER)
    assert parameter_count(network) == 4 * 8 + 8 + 8 * 1 + 1


def test_categories_are_embedded():
    flat = Flat(TABLE)
    assert flat.width == 4 + embedding_width(3) + embedding_width(10)
    codes = torch.tensor([[0, 9], [2, 0]])
    assert flat({"numbers": torch.zeros(2, 4), "categories": codes}).shape == (2, flat.width)
    assert [embedding_width(values) for values in (1, 2, 100, 10**6)] == [2, 2, 21, 64]


def test_open_sizes_follow_from_the_data():
    assert with_default_sizes(Mlp(family="mlp"), TABLE, 100).hidden == (128, 64)
    assert with_default_sizes(Mlp(family="mlp"), TABLE, 10_000).hidden == (256, 128)
    assert with_default_sizes(Mlp(family="mlp", hidden=(3,)), TABLE, 100).hidden == (3,)
    assert with_default_sizes(Cnn(family="cnn"), IMAGE, 100).channels == (32, 64)
    large = Signature({"image": ImageInput(3, 224, 224)}, CLASSES)
    assert with_default_sizes(Cnn(family="cnn"), large, 100).channels == (32, 64, 128, 256, 256, 256)


@pytest.mark.parametrize("side", [2, 3, 4, 8, 9, 28, 64])
def test_default_stages_always_fit(side):
    signature = Signature({"image": ImageInput(1, side, side)}, CLASSES)
    architecture = with_default_sizes(Cnn(family="cnn", kernel=1), signature, 100)
    assert misfits(architecture, signature) == []
    network = build_network(architecture, signature)
    assert network(example_inputs(signature, 1, "cpu")).shape == (1, 3)


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({"kernel": 9}, (8, 8), ("architecture.kernel", "9 is larger than the 8x8 images; use at most 7")),
        ({"kernel": 9}, (20, 5), ("architecture.kernel", "9 is larger than the 20x5 images; use at most 5")),
        (
            {"channels": (4, 4, 4, 4)},
            (8, 9),
            ("architecture.channels", "4 stages halve 8x9 images to nothing; use at most 3"),
        ),
        (
            {"channels": (4,), "kernel": 1},
            (1, 5),
            ("architecture.channels", "1x5 images cannot be halved; use larger ones or another family"),
        ),
    ],
)
def test_settings_that_do_not_fit_the_images_are_reported(settings, size, expected):
    problems = misfits(Cnn(family="cnn", **settings), Signature({"image": ImageInput(1, *size)}, CLASSES))
    assert [(problem.path, problem.message) for problem in problems] == [expected]
