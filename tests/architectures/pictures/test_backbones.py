"""Backbones of torchvision and timm: names, weights, frozen stages, maps."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from stoker.architectures.network import build_network, misfits, network_notes, unavailable, with_default_sizes
from stoker.architectures.pictures.backbones.backbone import Backbone
from stoker.errors import JobError
from stoker.job.architecture.backbone import Backbone as Settings
from stoker.job.architecture.backbone import BackboneClassifier
from stoker.job.architecture.feature_distance import FeatureDistance
from stoker.job.dataset import Dataset
from stoker.job.signature import ClassOutput, ImageInput, Signature
from stoker.jobfile.backbone_names import UNFIT, networks

TINY = "test_resnet"
"""A network of timm with half a million weights."""


def signature(channels: int = 3, side: int = 32) -> Signature:
    return Signature({"image": ImageInput(channels, side, side)}, ClassOutput(("a", "b", "c")))


def settings(name: str = TINY, **given: object) -> BackboneClassifier:
    return BackboneClassifier(family="backbone", backbone=Settings(name=name, **given))


def problem_of(**given: object) -> tuple[str, str]:
    (problem,) = unavailable(settings(**given), Dataset(source="digits"))
    return problem.path, problem.message


@pytest.fixture(scope="module")
def weight_file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "resnet.safetensors"
    save_file(timm.create_model(TINY, num_classes=7).state_dict(), file)
    return file


def test_the_names_are_those_that_the_libraries_list():
    listed = torchvision.models.list_models(module=torchvision.models)
    assert [*networks("torchvision")] == [name for name in listed if not name.startswith(UNFIT)]
    assert [*networks("timm")] == sorted(timm.list_models())


@pytest.mark.parametrize(
    ("library", "name"),
    [("timm", TINY), ("timm", "test_convnext"), ("timm", "test_efficientnet"), ("torchvision", "shufflenet_v2_x0_5")],
)
def test_maps_have_the_channels_and_strides_that_are_told(library, name):
    backbone = Backbone(Settings(name=name, library=library), ImageInput(1, 64, 96), maps=True).eval()
    maps = backbone(torch.randn(2, 1, 64, 96))
    assert [each.shape[1] for each in maps] == list(backbone.channels)
    assert [(64 // each.shape[2], 96 // each.shape[3]) for each in maps] == [(s, s) for s in backbone.strides]
    assert backbone.strides == tuple(sorted(set(backbone.strides)))


@pytest.mark.parametrize(("library", "name"), [("timm", TINY), ("timm", "test_vit"), ("torchvision", "resnet18")])
def test_the_features_of_a_picture_depend_on_it_alone(library, name):
    network = build_network(settings(name, library=library), signature(side=48)).train()
    pictures = torch.randn(4, 3, 48, 48)
    together = network({"image": pictures})
    torch.testing.assert_close(network({"image": pictures[1:2]}), together[1:2], atol=1e-4, rtol=1e-4)


def test_weights_of_a_file_are_those_of_the_library_itself(weight_file):
    torch.manual_seed(0)
    original = timm.create_model(TINY, num_classes=7).eval()
    backbone = Backbone(Settings(name=TINY, weights=str(weight_file)), ImageInput(3, 64, 64), maps=False).train()
    pictures = torch.randn(2, 3, 64, 64)
    expected = original.forward_head(original.forward_features(pictures), pre_logits=True)
    torch.testing.assert_close(backbone(pictures), expected)


@pytest.mark.parametrize("wrapped", ["state_dict", "module."])
def test_weights_are_found_as_training_scripts_save_them(wrapped, tmp_path):
    weights = timm.create_model(TINY, num_classes=7).state_dict()
    saved = {wrapped: weights} if wrapped == "state_dict" else {f"{wrapped}{name}": w for name, w in weights.items()}
    torch.save({"epoch": 3, **saved} if wrapped == "state_dict" else saved, tmp_path / "w.pt")
    backbone = Backbone(Settings(name=TINY, weights=str(tmp_path / "w.pt")), ImageInput(3, 64, 64), maps=False)
    assert torch.equal(backbone.model.conv1[0].weight, weights["conv1.0.weight"])


def test_a_file_of_another_network_is_an_error_that_names_weights(weight_file):
    with pytest.raises(JobError) as raised:
        build_network(settings("test_convnext", weights=str(weight_file)), signature())
    (problem,) = raised.value.problems
    assert problem.path == "architecture.backbone.weights"
    assert "lacks" in problem.message
    assert "it has bn1.bias, " in problem.message
    assert "name a file of the same network" in problem.message


def test_frozen_stages_have_no_gradient_and_keep_their_statistics(weight_file):
    frozen = settings(weights=str(weight_file), frozen_stages=2)
    network = build_network(frozen, signature())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network({"image": torch.randn(4, 3, 32, 32)}).sum().backward()
    trained = {name for name, each in network.named_parameters() if each.grad is not None}
    assert not any(name.startswith(("backbone.model.conv1", "backbone.model.layer1")) for name in trained)
    assert {"backbone.model.layer2.0.conv1.weight", "output.weight"} <= trained
    assert all(torch.equal(before[n], v) for n, v in network.state_dict().items() if "running" in n or "tracked" in n)
    unchanged = network.unchanged_weights()
    assert unchanged
    assert unchanged.isdisjoint(trained)
    assert all(name in unchanged for name in before if "layer1" in name)


def test_weights_that_nothing_else_holds_are_saved_although_they_are_frozen():
    network = build_network(settings(frozen_stages="all"), signature())
    assert [name for name, each in network.named_parameters() if each.requires_grad] == ["output.weight", "output.bias"]
    assert network.unchanged_weights() == frozenset()
    assert network.origin_digest() == ""


def test_a_plan_says_what_frozen_features_are_worth():
    random = FeatureDistance(family="feature-distance", backbone=Settings(name=TINY), frozen=True)
    *_, worth, passes = network_notes(random, signature())
    assert worth == "random features that are frozen tell little; name weights, or leave frozen out"
    assert passes.endswith("training.epochs: 1")


def test_the_library_and_the_recommended_weights_are_written_out():
    chosen = with_default_sizes(settings("resnet18", weights="default"), signature(), 100).backbone
    assert (chosen.library, chosen.weights) == ("torchvision", "IMAGENET1K_V1")
    chosen = with_default_sizes(settings("resnet18", library="timm", weights="default"), signature(), 100).backbone
    assert (chosen.library, chosen.weights) == ("timm", "a1_in1k")


@pytest.mark.parametrize(
    ("given", "path", "parts"),
    [
        ({"name": "resent18"}, "name", ["did you mean 'resnet18'?"]),
        ({"name": "resnet18.a1_in1k", "library": "timm"}, "name", ["name: resnet18 and weights: a1_in1k"]),
        ({"weights": "none.pt"}, "weights", ["there is no file 'none.pt'", "write none"]),
        (
            {"name": "resnet18", "library": "timm", "weights": "a1_in1kk"},
            "weights",
            ["did you mean 'a1_in1k'?", "it has a1_in1k, "],
        ),
        ({"name": "resnet20", "library": "torchvision"}, "name", ["no network 'resnet20' in torchvision"]),
    ],
)
def test_a_backbone_that_is_not_there_is_an_error_with_the_cure(given, path, parts):
    found, message = problem_of(**given)
    assert found == f"architecture.backbone.{path}"
    assert all(part in message for part in parts)


def test_without_timm_its_networks_are_an_error_with_the_cure(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "timm" else find(name))
    cure = "install it: pip install 'stoker[backbones]'"
    assert problem_of(library="timm") == ("architecture.backbone.library", f"timm is not installed here; {cure}")
    path, message = problem_of(name="vit_tiny_patch16_224")
    assert path == "architecture.backbone.name"
    assert message.endswith(f"timm, which is not installed here, has more: {cure}")
    assert unavailable(settings("resnet18"), Dataset(source="digits")) == []


def test_weights_out_of_reach_are_an_error_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    path, message = problem_of(name="resnet18", weights="default")
    assert path == "architecture.backbone.weights"
    assert "cannot be downloaded" in message
    assert "name a file with the weights in their place, or write none" in message


def test_too_many_frozen_stages_and_too_few_colours_are_misfits(weight_file):
    (problem,) = misfits(settings(library="timm", frozen_stages=9), signature())
    assert problem.message == f"{TINY} has 5 stages, fewer than 9; use at most 5, or all"
    (problem,) = misfits(settings(weights=str(weight_file)), signature(channels=1))
    assert problem.path == "dataset.image.normalization"
