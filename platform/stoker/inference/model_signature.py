"""The signature of a served model in MLflow's JSON, which is written without MLflow: a worker does not load it."""

import json
from collections.abc import Sequence
from typing import Any

from torch import nn

from stoker.datasets.fields.schema import Fields
from stoker.job.signature import (
    BlanksOutput,
    BoxesOutput,
    ClassOutput,
    ContinuationOutput,
    ImageInput,
    MaskOutput,
    NormalityOutput,
    Output,
    SpanOutput,
    TagsOutput,
    TextOutput,
    WordTagsOutput,
)
from stoker.tasks.abilities import can_encode, can_sample
from stoker.tasks.task import Task
from stoker.tasks.writing.settings import parameter_defaults

Schema = list[dict[str, Any]]
TYPES = {
    "length": "long",
    "temperature": "double",
    "top_k": "long",
    "top_p": "double",
    "stop": "string",
    "seed": "long",
}
"""MLflow's types of the parameters of a text."""


def signature(fields: Fields, network: nn.Module, task: type[Task]) -> dict[str, str | None]:
    """Return inputs, outputs and parameters of a model, each as JSON.

    The columns of a table are no part of it: MLflow would refuse whole numbers for a column of floats, and floats for
    one of whole numbers. Fields read both. Neither are images, of which there are arrays, files and addresses.

    Reference: MLflow's documentation, "Model Signatures and Input Examples".
    """
    shapes = fields.signature
    image = next(iter(shapes.images.values()), None)
    if can_sample(network):
        classes = [_column("string", "class")] if shapes.classes else []
        return _json([*classes, _column("long", "seed")], _images(image) if image else None, None)
    parameters = _parameters(network, task)
    column = [_column("string", "column")] if isinstance(shapes.output, NormalityOutput) and image is None else []
    return _json(None, [*_outputs(shapes.output), *column], parameters or None)


def _parameters(network: nn.Module, task: type[Task]) -> Schema:
    """Return the parameters of a request with their defaults, those of a text as of `stoker generate`."""
    if task.writes:
        defaults = parameter_defaults(task.writing)
        return [_parameter(kind, name, defaults[name]) for name, kind in TYPES.items()]
    return [_parameter("string", "output_kind", "prediction")] if can_encode(network) else []


def _parameter(kind: str, name: str, default: Any) -> dict[str, Any]:
    return {"name": name, "default": default, "type": kind, "shape": [-1] if isinstance(default, list) else None}


def _outputs(output: Output | None) -> Schema:
    match output:
        case MaskOutput():
            return _pixels((output.height, output.width))
        case BoxesOutput():
            sizes = [_column("long", name) for name in ("boxes", "height", "width")]
            return [_column("string", "prediction"), *sizes]
        case ClassOutput(names) | TagsOutput(names):
            return [_column("string", "prediction"), *(_column("float", f"probability/{name}") for name in names)]
        case NormalityOutput():
            return [_column("string", "prediction"), _column("float", "score")]
        case BlanksOutput() | ContinuationOutput() | TextOutput():
            return [_column("string", "prediction")]
        case SpanOutput():
            places = [_column("long", name) for name in ("begin", "end")]
            return [_column("string", "prediction"), _column("double", "score"), *places]
        case WordTagsOutput(_, types):
            return [_column("string", name) for name in ("prediction", *(["entities"] if types else []))]
        case _:
            return [_column("double", "prediction")]


def _column(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, "name": name, "required": True}


def _images(image: ImageInput) -> Schema:
    return _pixels((image.height, image.width, image.channels))


def _pixels(shape: Sequence[int]) -> Schema:
    return [{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, *shape]}}]


def _json(inputs: Schema | None, outputs: Schema | None, parameters: Schema | None) -> dict[str, str | None]:
    parts = {"inputs": inputs, "outputs": outputs, "params": parameters}
    return {name: None if schema is None else json.dumps(schema) for name, schema in parts.items()}
