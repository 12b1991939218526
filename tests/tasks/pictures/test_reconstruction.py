"""What is measured of images that are drawn again, and what an autoencoder may keep of them."""

import numpy as np
import pytest
import torch
from torch import nn

from stoker.architectures.network import build_network, misfits
from stoker.datasets.fields.image import ImageField
from stoker.errors import JobError
from stoker.job.architecture.autoencoder import Autoencoder
from stoker.job.signature import ClassOutput, ImageInput, Signature
from stoker.job.training import Training
from stoker.randomness import Noise
from stoker.tasks.pictures.drawn_again import ImageErrors, psnr, squared_errors

FIELD = ImageField("image", 6, 5, 1, (100.0,), (50.0,))
SIGNATURE = Signature({"image": ImageInput(1, 6, 5)}, ClassOutput(("a", "b")))


def noise(rows: int) -> Noise:
    return Noise((1,), rows, 0, rows, torch.device("cpu"))


def test_errors_are_those_of_pixels_from_black_to_white(rows):
    pixels = torch.randint(0, 256, (4, 1, 6, 5)).float()
    other = (pixels + torch.randint(-40, 40, pixels.shape)).clamp(0, 255)
    images, drawn = ((each - 100) / 50 for each in (pixels, other))
    expected = ((other - pixels) / 255).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(squared_errors(FIELD, drawn, images), expected)
    torch.testing.assert_close(
        squared_errors(FIELD, images + 1000, images), ((255 - pixels) / 255).square().mean((1, 2, 3))
    )
    metrics = ImageErrors(FIELD)
    metrics.update(torch.cat([(images + 0.5).flatten(1), drawn.flatten(1)], dim=1), rows({"image": images}))
    found = metrics.compute()
    assert found["mse"] == pytest.approx(float(expected.mean()), rel=1e-5)
    assert found["psnr"] == pytest.approx(float((-10 * expected.log10()).mean()), rel=1e-5)
    assert found["psnr_given"] == pytest.approx(
        float(psnr(squared_errors(FIELD, images + 0.5, images)).mean()), rel=1e-5
    )
    unspoilt = ImageErrors(FIELD)
    unspoilt.update(torch.cat([images.flatten(1), drawn.flatten(1)], dim=1), rows({"image": images}))
    assert unspoilt.compute().keys() == {"mse", "psnr"}


def test_an_autoencoder_is_given_spoilt_images_and_pays_for_its_code():
    settings = Autoencoder(family="autoencoder", channels=(4,), code=3, noise=0.5, mask=0.4, sparse=2.0)
    network = build_network(settings, SIGNATURE).eval()
    images = torch.randn(50, 1, 6, 5)
    given, drawn, losses = network.redraw({"image": images}, noise(50))
    hidden = given == 0
    assert 0.3 < float(hidden.float().mean()) < 0.5
    assert float((given - images)[~hidden].std()) == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(drawn, network({"image": given}))
    code = network.encode({"image": given})
    torch.testing.assert_close(losses, (drawn - images).square().mean(dim=(1, 2, 3)) + 2 * code.abs().mean(dim=1))


def test_a_code_that_holds_the_whole_image_is_refused_unless_copying_does_not_help():
    (problem,) = misfits(Autoencoder(family="autoencoder", code=30), SIGNATURE)
    assert (problem.path, "only copied; shorten it, or set noise" in problem.message) == ("architecture.code", True)
    for given in ({"noise": 0.1}, {"mask": 0.1}, {"sparse": 0.1}):
        assert misfits(Autoencoder(family="autoencoder", code=30, **given), SIGNATURE) == []
    assert misfits(Autoencoder(family="autoencoder", code=29), SIGNATURE) == []


def test_answers_are_images_with_their_quality(task_of, made):
    task = task_of("reconstruction")
    with pytest.raises(JobError, match=r"draws no image again: it needs `redraw\(inputs, noise\)`"):
        task.objective(nn.Linear(1, 1), Training())
    field = task.fields.image
    pixels = np.random.default_rng(0).integers(0, 256, (3, field.height, field.width, 1), np.uint8)
    from stoker.datasets.records import Records

    standard = field.prepare(torch.from_numpy(pixels))
    answers = task.answers(standard, Records({field.name: pixels}))
    assert np.array_equal(np.asarray(answers.images), pixels)
    assert answers.table["psnr"].tolist() == [100.0] * 3


def test_a_network_without_codes_has_an_empty_map(task_of, made):
    outputs, batch = made("reconstruction", 6)
    review = task_of("reconstruction").review()
    review.update(outputs[:, :-3], batch, torch.arange(6))
    assert review.figures()["codes"].axes[0].get_title() == "Codes of 0 samples"
    assert len(review.rows()) == 6
