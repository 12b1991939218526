import pytest

from stoker.tracking.overfitting import overfitting_note


@pytest.mark.parametrize(
    ("task", "metrics", "found"),
    [
        ("image-classification", {"accuracy/train": 0.9, "accuracy/val": 0.63}, "accuracy is 0.9 on train and 0.63 on"),
        ("tabular-classification", {"accuracy/train": 1.0, "accuracy/test": 0.8}, "accuracy is 1 on train and 0.8 on"),
        ("tabular-regression", {"rmse/train": 1.0, "rmse/val": 2.0, "rmse/test": 1.0}, "rmse is 1 on train and 2 on"),
        ("segmentation", {"dice/train": 0.95, "dice/val": 0.7}, "dice is 0.95 on train and 0.7 on val"),
    ],
)
def test_parts_that_drift_apart_are_noted_with_the_cure(task: str, metrics: dict[str, float], found: str):
    note = overfitting_note(task, metrics)
    assert note.startswith(found)
    assert "the run overfits; what may help: " in note
    assert ("dataset.image.augment" in note) == (task in ("image-classification", "segmentation"))


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("image-classification", {"accuracy/train": 0.9, "accuracy/val": 0.85}),
        ("image-classification", {"accuracy/train": 0.6, "accuracy/val": 0.9}),
        ("tabular-regression", {"rmse/train": 1.0, "rmse/val": 1.4}),
        ("tabular-regression", {"rmse/train": 1.0, "rmse/val": float("nan")}),
        ("image-classification", {"accuracy/train": 0.9}),
        ("image-generation", {"loss/train": 0.1, "loss/val": 9.0}),
        ("a-later-task", {"accuracy/train": 0.9, "accuracy/val": 0.1}),
        ("image-classification", {}),
    ],
)
def test_other_metrics_give_no_note(task: str, metrics: dict[str, float]):
    assert overfitting_note(task, metrics) == ""
