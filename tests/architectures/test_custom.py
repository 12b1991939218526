"""A user's own class: how it is imported, built and called, and how its errors are reported."""

import sys

import pytest
import torch

from stoker.architectures.inputs import example_inputs
from stoker.architectures.network import build_network
from stoker.errors import Cause, JobError, TrainingFailed
from stoker.job.architecture.custom import Custom
from stoker.job.signature import ClassOutput, ImageInput, NumbersInput, Signature

TABLE = Signature({"numbers": NumbersInput(3)}, ClassOutput(("a", "b")))
IMAGE = Signature({"image": ImageInput(1, 4, 4)}, ClassOutput(("a", "b")))
CODE = """
from torch import nn

class ByInputs(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale
        self.layer = nn.Linear(3, 2)
    def forward(self, inputs):
        return self.scale * self.layer(inputs["numbers"])

class ByName(nn.Module):
    def __init__(self, signature):
        super().__init__()
        self.layer = nn.Linear(signature.image.height * signature.image.width, 2)
    def forward(self, image):
        return self.layer(image.flatten(1))

class ByPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
    def forward(self, x):
        return self.layer(x)

class Broken(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, 1 // 0)

class Misused(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.layer.load_state_dict({})

class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.LazyLinear(2))
    def forward(self, numbers):
        return self.layers(numbers)

def function():
    pass
"""


@pytest.fixture(autouse=True)
def code(tmp_path, monkeypatch):
    name = f"user_code_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def custom(path: str, **settings) -> Custom:
    return Custom.model_validate({"family": "custom", "class": path, **settings})


@pytest.mark.parametrize(
    ("name", "signature"), [("ByInputs", TABLE), ("ByName", IMAGE), ("ByPlace", TABLE)], ids=lambda v: str(v)[:10]
)
def test_inputs_are_passed_together_by_name_or_by_position(code, name, signature):
    network = build_network(custom(f"{code}:{name}"), signature)
    assert network(example_inputs(signature, 5, "cpu")).shape == (5, 2)


def test_settings_reach_the_constructor(code):
    network = build_network(custom(f"{code}:ByInputs", scale=0.0), TABLE)
    assert not network(example_inputs(TABLE, 5, "cpu")).any()


@pytest.mark.parametrize(
    ("path", "settings", "message"),
    [
        ("nowhere:Net", {}, "no module 'nowhere'"),
        ("CODE:Net", {}, "has no torch module 'Net'; it has ByInputs, ByName, ByPlace, Broken, Misused, Lazy"),
        ("CODE:function", {}, "has no torch module 'function'"),
        ("CODE:ByInputs", {"scalee": 1}, "ByInputs takes no 'scalee' (it takes: scale)"),
        ("CODE:Broken", {}, "Broken needs a value for 'width'"),
    ],
)
def test_unfitting_settings_are_reported(code, path, settings, message):
    with pytest.raises(JobError) as caught:
        build_network(custom(path.replace("CODE", code), **settings), TABLE)
    assert message in str(caught.value)
    assert caught.value.problems[0].path.startswith("architecture.")


def test_an_error_in_user_code_names_its_line(code):
    with pytest.raises(TrainingFailed) as caught:
        build_network(custom(f"{code}:Broken", width=3), TABLE)
    assert caught.value.cause is Cause.USER_CODE
    first = caught.value.message.splitlines()[0]
    assert first.endswith("ZeroDivisionError: integer division or modulo by zero")
    assert f"{code}.py:{CODE.splitlines().index('        self.layer = nn.Linear(width, 1 // 0)') + 1}" in first
    assert "self.layer = nn.Linear(width, 1 // 0)" in caught.value.message
    assert "stoker/architectures" not in caught.value.message


def test_an_error_that_a_library_raises_names_the_users_line(code):
    with pytest.raises(TrainingFailed) as caught:
        build_network(custom(f"{code}:Misused"), TABLE)
    line = CODE.splitlines().index("        self.layer.load_state_dict({})") + 1
    assert f"{code}.py:{line}: RuntimeError" in caught.value.message.splitlines()[0]


def test_lazy_layers_have_the_shapes_of_the_data(code):
    networks = []
    for _ in range(2):
        torch.manual_seed(1)
        networks.append(build_network(custom(f"{code}:Lazy"), TABLE))
    first, second = (network.state_dict() for network in networks)
    assert first["network.layers.0.weight"].shape == (4, 3)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["network.layers.1.num_batches_tracked"] == 0  # the pass for the shapes has trained nothing
    assert networks[0].training
