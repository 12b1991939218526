import pytest
import torch
from stoker.architectures.flat import Flat, embedding_width

from stoker.architectures.cnn import default_channels
from stoker.architectures.network import build_network, example_inputs, misfits, parameter_count, with_sizes
from stoker.job.architecture.cnn import Cnn
from stoker.job.architecture.mlp import Mlp
from stoker.job.architecture.perceptron import Perceptron
from stoker.job.signature import ClassOutput, ImageInput, Signature, TableInput, ValueOutput

CLASSES = ClassOutput(("a", "b", "c"))
PICTURE = Signature(ImageInput(3, 16, 12), CLASSES)
TABLE = Signature(TableInput(4, (3, 10)), CLASSES)
NUMBER = Signature(TableInput(4, ()), ValueOutput("y", 0.0, 1.0))


@pytest.mark.parametrize(
    ("architecture", "signature", "outputs"),
    [
        (Perceptron(family="perceptron"), TABLE, 3),
        (Perceptron(family="perceptron"), PICTURE, 3),
        (Mlp(family="mlp", hidden=(8,), dropout=0.5, activation="gelu"), TABLE, 3),
        (Mlp(family="mlp", hidden=(8, 4)), NUMBER, 1),
        (Mlp(family="mlp", hidden=(8,)), PICTURE, 3),
        (Cnn(family="cnn", channels=(8, 12)), PICTURE, 3),
        (Cnn(family="cnn", channels=(4, 4, 8), blocks="residual", kernel=5, dropout=0.1), PICTURE, 3),
    ],
)
def test_a_network_returns_what_the_signature_asks_for(architecture, signature, outputs):
    network = build_network(architecture, signature).eval()
    output = network(example_inputs(signature, 5, "cpu"))
    assert output.shape == (5, outputs)
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("blocks", ["plain", "residual"])
def test_a_samples_output_depends_on_that_sample_alone(blocks):
    network = build_network(Cnn(family="cnn", channels=(8, 8), blocks=blocks), PICTURE)
    pictures = torch.randn(4, 3, 16, 12)
    together = network({"image": pictures})
    alone = torch.cat([network({"image": picture[None]}) for picture in pictures])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_a_perceptron_is_linear():
    network = build_network(Perceptron(family="perceptron"), NUMBER)
    inputs = {"numbers": torch.randn(2, 4), "categories": torch.zeros(2, 0, dtype=torch.int64)}
    middle = {**inputs, "numbers": inputs["numbers"].mean(dim=0, keepdim=True)}
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
    assert with_sizes(Mlp(family="mlp"), TABLE, 100).hidden == (128, 64)
    assert with_sizes(Mlp(family="mlp"), TABLE, 10_000).hidden == (256, 128)
    assert with_sizes(Mlp(family="mlp", hidden=(3,)), TABLE, 100).hidden == (3,)
    assert with_sizes(Cnn(family="cnn"), PICTURE, 100).channels == (32, 64)
    assert default_channels(ImageInput(3, 224, 224)) == (32, 64, 128, 256, 256, 256)


@pytest.mark.parametrize("side", [2, 3, 4, 8, 9, 28, 64])
def test_default_stages_always_fit(side):
    picture = ImageInput(1, side, side)
    architecture = Cnn(family="cnn", kernel=1, channels=default_channels(picture))
    assert misfits(architecture, Signature(picture, CLASSES)) == []
    network = build_network(architecture, Signature(picture, CLASSES))
    assert network(example_inputs(Signature(picture, CLASSES), 1, "cpu")).shape == (1, 3)


@pytest.mark.parametrize(
    ("settings", "size", "expected"),
    [
        ({"kernel": 9}, (8, 8), ("architecture.kernel", "9 is larger than the 8x8 pictures; use at most 7")),
        ({"kernel": 9}, (20, 5), ("architecture.kernel", "9 is larger than the 20x5 pictures; use at most 5")),
        (
            {"channels": (4, 4, 4, 4)},
            (8, 9),
            ("architecture.channels", "4 stages halve 8x9 pictures to nothing; use at most 3"),
        ),
        (
            {"channels": (4,), "kernel": 1},
            (1, 5),
            ("architecture.channels", "1x5 pictures cannot be halved; use larger ones or another family"),
        ),
    ],
)
def test_what_does_not_fit_the_pictures_is_told(settings, size, expected):
    problems = misfits(Cnn(family="cnn", **settings), Signature(ImageInput(1, *size), CLASSES))
    assert [(problem.path, problem.message) for problem in problems] == [expected]
