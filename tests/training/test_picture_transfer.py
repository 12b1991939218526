"""Networks on backbones that start from earlier ones: of a file, or of a run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from stoker.datasets.fields.image import ImageField
from stoker.errors import JobError
from stoker.inference.model import Model, save_model
from stoker.planning.run import make_plan
from stoker.storage import open_storage
from stoker.training.assembly import assemble
from stoker.training.attempt import attempt
from stoker.training.checkpoint import Checkpoints
from stoker.training.loop import start, train
from stoker.training.preparation import prepare
from stoker.training.snapshot import take
from stoker.training.transfer import load_weights

pytestmark = pytest.mark.usefixtures("one_thread")
CHOSEN = {"name": "test_resnet", "library": "timm"}
TRAINING = {"epochs": 1, "batch_size": 8, "precision": "fp32"}


@pytest.fixture(scope="module")
def hands(public_data, tmp_path_factory) -> Path:
    """A few photos of hands that show three digits."""
    folder = tmp_path_factory.mktemp("hands")
    for digit in ("0", "1", "2"):
        (folder / digit).mkdir()
        for file in sorted((public_data("sign-digits") / "train" / digit).iterdir())[:10]:
            Image.open(file).resize((32, 32)).save(folder / digit / f"{file.stem}.png")
    return folder


def classifier(make_job: Any, source: Path, **backbone: Any) -> Any:
    architecture = {"family": "backbone", "backbone": {**CHOSEN, **backbone}}
    return make_job("image-classification", str(source), architecture=architecture, training=TRAINING)


def saved(job: Any, folder: Path) -> Any:
    assembly = assemble(prepare(job))
    for _ in train("r", start(assembly)):
        pass
    save_model(folder, assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    return assembly


@pytest.mark.parametrize("frozen", [0, "all"])
def test_a_backbone_learns_from_photos_resumes_and_tells_its_name(frozen, make_job, hands, tmp_path, digest):
    prepared = prepare(classifier(make_job, hands, frozen_stages=frozen))
    begun = start(assemble(prepared))
    before = {name: value.clone() for name, value in begun.assembly.objective.state_dict().items()}
    whole = begun
    *_, _ = train("r", whole)
    changed = {name for name, value in whole.assembly.objective.state_dict().items() if not value.equal(before[name])}
    assert (changed == {"network.output.weight", "network.output.bias"}) == (frozen == "all")
    stopped = start(assemble(prepared))
    checkpoints = Checkpoints(open_storage(str(tmp_path / "run")), "", 2, 1)
    *_, _ = attempt("r", stopped, checkpoints, 1, lambda: "stop" if stopped.step >= 2 else "")
    again = start(assemble(prepared))
    assert Checkpoints(open_storage(str(tmp_path / "run")), "", 2, 2).restore(again) is not None
    *_, _ = train("r", again)
    assert digest(again) == digest(whole)
    assembly = whole.assembly
    save_model(tmp_path / "m", assembly.job, assembly.data.fields, assembly.objective, assembly.data.fingerprint)
    model = Model.load(tmp_path / "m")
    assert model.job.architecture.backbone.name == "test_resnet"
    assert (model.job.architecture.backbone.library, model.job.architecture.backbone.weights) == ("timm", "none")
    assert model.fields.image.mean == assembly.data.fields.image.mean


def test_frozen_weights_of_a_file_are_read_again_and_their_normalisation_is_the_librarys(
    make_job, hands, backbone_weights, tmp_path
):
    job = classifier(make_job, hands, weights=str(backbone_weights), frozen_stages=3)
    assembly = saved(job, tmp_path)
    image = assembly.data.fields.image
    assert image.mean == (127.5, 127.5, 127.5)  # of this network, as timm says
    assert assembly.job.dataset.image.normalization.std == (0.5, 0.5, 0.5)
    unchanged = assembly.objective.unchanged_weights()
    assert unchanged
    assert not any(name in key for key in take(start(assembly), {}).tensors for name in unchanged)
    model = Model.load(tmp_path)
    pixels = torch.rand(2, 3, 32, 32)
    name = image.name
    expected = assembly.objective.network.eval()({name: pixels})
    torch.testing.assert_close(model.network({name: pixels}), expected)
    content = backbone_weights.read_bytes()
    save_file({key: value + 1 for key, value in load_file(backbone_weights).items()}, backbone_weights)
    try:
        with pytest.raises(JobError, match="not those that this run was trained on"):
            Model.load(tmp_path)
    finally:
        backbone_weights.write_bytes(content)


def test_grey_pictures_have_three_equal_channels_for_weights(make_job, backbone_weights):
    job = make_job(
        "image-classification",
        {"source": "digits", "image": {"size": 32}},
        architecture={"family": "backbone", "backbone": {**CHOSEN, "weights": str(backbone_weights)}},
        training=TRAINING,
    )
    fields = prepare(job).data.fields
    assert isinstance(fields.image, ImageField)
    assert fields.image.channels == 3
    grey = np.random.default_rng(0).integers(0, 255, (1, 32, 32, 1), np.uint8)
    prepared = fields.image.prepare(torch.from_numpy(fields.image.fitting(grey)))
    expected = (torch.from_numpy(grey[0, ..., 0]) / 255 - 0.5) / 0.5
    torch.testing.assert_close(prepared[0], expected.expand(3, 32, 32))


def test_a_classifier_and_a_unet_start_from_a_classifier_of_other_classes(make_job, hands, tmp_path):
    first = saved(classifier(make_job, hands), tmp_path / "first")
    body = {name: value for name, value in first.objective.network.state_dict().items() if name.startswith("backbone.")}
    fewer = tmp_path / "fewer"
    for digit in ("0", "1"):
        (fewer / digit).parent.mkdir(exist_ok=True)
        (fewer / digit).symlink_to(hands / digit)
    masks = tmp_path / "masks-of-hands"
    for name in ("images", "masks"):
        (masks / name).mkdir(parents=True)
    for file in sorted((hands / "0").iterdir()):
        Image.open(file).save(masks / "images" / file.name)
        Image.fromarray((np.asarray(Image.open(file).convert("L")) > 128).astype(np.uint8)).save(
            masks / "masks" / file.name
        )
    unet = {"family": "unet", "backbone": CHOSEN}
    jobs = {
        "classes": classifier(make_job, fewer),
        "pixels": make_job("segmentation", str(masks), architecture=unet, training=TRAINING),
    }
    for kind, job in jobs.items():
        prepared = prepare(job, start=tmp_path / "first")
        assert prepared.data.fields.image.mean == pytest.approx(first.data.fields.image.mean)
        assembly = assemble(prepared)
        new = load_weights(assembly.objective, tmp_path / "first")
        assert not any(name.startswith("backbone.") for name in new)
        assert {"output.weight", "output.bias"} <= set(new)
        if kind == "classes":
            assert set(new) == {"output.weight", "output.bias"}
        own = assembly.objective.network.state_dict()
        assert all(value.equal(body[name]) for name, value in own.items() if name.startswith("backbone."))


def test_a_model_with_other_normalisation_is_no_start(make_job, hands, backbone_weights, tmp_path):
    saved(classifier(make_job, hands), tmp_path)
    job = classifier(make_job, hands, weights=str(backbone_weights))
    for act in (
        lambda: load_weights(assemble(prepare(job, start=tmp_path)).objective, tmp_path),
        lambda: make_plan(job, weights=tmp_path),
    ):
        with pytest.raises(JobError, match=r"normalises otherwise .* write the same architecture.backbone.weights"):
            act()
