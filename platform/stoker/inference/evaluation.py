"""Metrics of a model on a part of its own data, or on new data with labels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stoker.datasets.cache import local_path
from stoker.datasets.dataset import LoadedDataset
from stoker.datasets.fields.category import ClassField
from stoker.datasets.fields.number import ValueField
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.loading import load_dataset, read_source
from stoker.datasets.samples import Samples
from stoker.datasets.values.labels import check_known, label_values
from stoker.datasets.windows.documents import as_documents
from stoker.errors import JobError, NotFound, Problem, StokerError
from stoker.inference.model import Model
from stoker.inference.prediction import aligned, check_source_exists
from stoker.job.architecture.custom import Custom
from stoker.job.formats import Format
from stoker.job.task import TASKS
from stoker.training.assembly import Assembly
from stoker.training.evaluation import measure
from stoker.training.feature_training import set_features
from stoker.training.parallel import ALONE
from stoker.training.preparation import Prepared, with_vocabulary


def evaluate(
    model: Model,
    source: str | None = None,
    part: str = "test",
    format_name: Format | None = None,
    classifier: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, float]:
    """Return the loss and all metrics of the task, in the precision of `predict`; of a GAN only the metrics.

    Args:
        model: the model.
        source: new labelled data; None evaluates the data of the training.
        part: train, val or test of that data.
        format_name: format of `source`; default: inferred.
        classifier: folder of the model that `training.evaluate.features` names, if it names one. One that is trained
            with the job is trained again, by the same seed on the same data.
        tell: is told what is left out.

    Returns:
        Keys are quantity/part, such as accuracy/test, or only the quantity for new data.

    Raises:
        NotFound: the new data does not exist.
        JobError: it does not fit the model, or the data of the training has changed since.

    """
    samples = _own_part(model, part) if source is None else _labelled(model, source, format_name)
    training = model.job.training
    if training.evaluate.features:
        _set_features(model, classifier, tell if source else None)
    few = training.evaluate.samples
    metrics = measure(model.objective, model.task, samples, "fp32", training.seed, expensive_samples=few).metrics
    if not isinstance(model.job.architecture, Custom) and len(model.objective.groups()) > 1:
        kept = TASKS[model.job.task].metrics.keys() - {"loss"}  # a loss needs networks that are not saved
        metrics = {name: value for name, value in metrics.items() if name in kept}
    return {name if source else f"{name}/{part}": value for name, value in metrics.items()}


def _set_features(model: Model, classifier: Path | None, tell: Callable[[str], None] | None) -> None:
    """Provide the model's task with its feature network, and with the training images.

    Raises:
        JobError: the data of the training has changed since, and there is nobody to tell that.

    """
    try:
        data = replace(_own_data(model), fields=model.fields)
    except StokerError as error:
        if tell is None:
            raise
        tell(f"no metrics by features, which need the data of the training: {error}")
        return
    set_features(Assembly(Prepared(model.job, data), data.parts, model.task, model.objective, ALONE), classifier)


def _own_part(model: Model, part: str) -> Samples:
    data = _own_data(model)
    if part not in data.parts:
        raise NotFound(f"the data has no part '{part}' (it has: {', '.join(data.parts)})")
    return data.parts[part]


def _own_data(model: Model) -> LoadedDataset:
    start, row = model.folder if model.job.training.start_from else None, TASKS[model.job.task]
    data = load_dataset(with_vocabulary(model.job.dataset_to_load, row, start), row)
    if data.fingerprint != model.fingerprint:
        message = f"'{model.job.dataset.source}' has changed since the model was trained; name data with --input"
        raise JobError([Problem("", message)])
    return data


def _labelled(model: Model, source: str, format_name: Format | None) -> Samples:
    """Read new labelled samples, encoded by the model's fields.

    Raises:
        JobError: the label or a feature is missing, or a class is new.

    """
    check_source_exists(source)
    dataset = model.job.dataset.model_copy(update={"source": source, "format": format_name})
    records, found = read_source(dataset)
    records = aligned(records, model, local_path(source))
    if len(records) == 0:
        raise JobError([Problem("", "no rows to evaluate")])
    target = model.fields.target
    model.fields.check(records, *model.fields.layout.learnt_columns)
    if isinstance(target, ClassField):
        check_known(records, target)
    elif isinstance(target, ValueField):
        label_values(records, target.name, target.kind, target.decimal)
    elif isinstance(target, TargetTextField):
        label_values(records, target.name, target.kind)
    if model.fields.layout.joins:
        return model.fields.encode(as_documents(records, model.fields.text.name, found))
    weight = dataset.columns.weight
    return model.fields.encode(records, weight=weight if weight in records.columns else None)
