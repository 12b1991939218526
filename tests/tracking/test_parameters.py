from stoker.tracking.parameters import to_parameters


def test_parameters_have_names_that_mlflow_takes():
    job = {"dataset": {"columns": {"types": {"price (EUR)": "number", "x%": "number", "a+b": "category"}}}}
    prefix = "dataset.columns.types."
    assert to_parameters(job) == {f"{prefix}price _EUR_": "number", f"{prefix}x_": "number", f"{prefix}a_b": "category"}


def test_parameters_are_dotted_paths_and_lists_are_json():
    job = {"architecture": {"family": "cnn", "channels": [16, 32]}, "training": {"steps": None, "seed": 0}}
    assert to_parameters(job) == {
        "architecture.family": "cnn",
        "architecture.channels": "[16, 32]",
        "training.seed": "0",
    }
