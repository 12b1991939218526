import pytest

from stoker.tracking.weaknesses import weakness_notes


@pytest.mark.parametrize(
    ("metrics", "name", "found", "cure"),
    [
        ({"diversity/val": 0.3}, "mode collapse", "diversity is 0.3 on val: ", "spectral_norm"),
        ({"diversity/val": 0.9, "diversity/test": 0.4}, "mode collapse", "diversity is 0.4 on test: ", "loss: hinge"),
        ({"active_units/val": 0.0}, "posterior collapse", "active_units is 0 on val: ", "architecture.free_bits"),
        (
            {"memorised/test": 0.6, "memorised/train": float("nan")},
            "copies",
            "memorised is 0.6 on test: 60%",
            "augment",
        ),
        (
            {"discriminator/train": 0.01, "generator/train": 4.5},
            "lost game",
            "discriminator is 0.01 and generator 4.5 on train: the discriminator has won",
            "a lower learning rate of the discriminator",
        ),
    ],
)
def test_weaknesses_are_noted_with_the_cure(metrics: dict[str, float], name: str, found: str, cure: str):
    [(key, note)] = weakness_notes(metrics).items()
    assert key == name
    assert note.startswith(found)
    assert cure in note.partition("what may help: ")[2]


@pytest.mark.parametrize(
    "metrics",
    [
        {"diversity/val": 0.8, "active_units/val": 3.0, "memorised/val": 0.01},
        {"diversity/val": float("nan"), "memorised/val": float("nan")},
        {"discriminator/train": 1.2, "generator/train": 1.4},
        {"discriminator/train": 0.01},
        {},
    ],
)
def test_other_metrics_give_no_note(metrics: dict[str, float]):
    assert weakness_notes(metrics) == {}
