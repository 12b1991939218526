"""What new rows of a table are good for: models that learn from them, and are tested on real rows held out.

Each of scikit-learn's models is trained on the real training rows and on as many new ones, and tested on the rows of
the test part (or of another one): the share of the score that remains is the usefulness of the new rows.

    python -m stoker.training jobs/generation/penguins-rows.yaml --output penguins
    python bench/new_rows.py penguins --target species
"""

import argparse
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from stoker.architectures.network import build_network
from stoker.datasets.loading import load_dataset, read_source
from stoker.inference.generation import generate_rows
from stoker.inference.model import Model, load_fields
from stoker.job.job import Job
from stoker.job.task import TASKS
from stoker.jobfile.loading import load_job
from stoker.tasks.choice import TASK_CLASSES, objective_of


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of float64 and object columns, as scikit-learn takes them."""
    numbers = table.select_dtypes("number").columns
    columns = {
        name: values.astype("float64") if name in numbers else values.astype(object).where(values.notna(), "missing")
        for name, values in table.items()
    }
    return pd.DataFrame(columns)


def models(classes: bool) -> dict[str, object]:
    """Return gradient boosting and a linear model."""
    numbers, categories = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    trees = make_column_transformer((ordinal, categories), remainder="passthrough")
    linear = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), categories),
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
    )
    boosting = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    last = LogisticRegression(max_iter=1000) if classes else LinearRegression()
    return {
        "gradient boosting": make_pipeline(trees, boosting(random_state=0)),
        "linear model": make_pipeline(linear, last),
    }


def trained(folder: Path) -> Model:
    """Return the model of a training without a run."""
    job, fields = load_job(folder / "resolved.yaml").job, load_fields(folder)
    assert isinstance(job, Job)
    assert job.architecture is not None
    task = TASK_CLASSES[job.task](fields)
    objective = objective_of(build_network(job.architecture, fields.signature), task, job.training)
    objective.load_state_dict(load_file(folder / "weights.safetensors"))
    return Model(job, fields, objective.eval(), task, "", folder)


def main() -> None:
    """Print the scores of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the output of a training")
    parser.add_argument("--target", required=True)
    parser.add_argument("--part", default="test")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    model = trained(given.folder)
    spec = model.job.dataset
    data, records = load_dataset(spec, TASKS[model.job.task]), read_source(spec)[0]
    everything = pd.DataFrame({name: records.columns[name] for name in records.columns})
    made = [generate_rows(model, len(data.parts["train"]), seed) for seed in range(given.seeds)]
    columns = list(made[0].columns)
    real, held_out = (everything.iloc[data.parts[part].ids.numpy()][columns] for part in ("train", given.part))
    features, classes = (
        [name for name in columns if name != given.target],
        not pd.api.types.is_numeric_dtype(real[given.target]),
    )
    for name, learner in models(classes).items():
        scores = []
        for rows in (real, *made):
            rows = plain(rows.dropna(subset=[given.target]))
            target = rows[given.target].astype(str if classes else float)
            learner.fit(rows[features], target)  # type: ignore[attr-defined]
            scores.append(learner.score(plain(held_out)[features], held_out[given.target]))  # type: ignore[attr-defined]
        mean = sum(scores[1:]) / given.seeds
        each = ", ".join(f"{score:.3f}" for score in scores[1:])
        print(f"{name}: real {scores[0]:.3f}, new {mean:.3f} ({each}), ratio {mean / scores[0]:.3f}")


if __name__ == "__main__":
    main()
