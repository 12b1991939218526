"""Built-in datasets: scikit-learn's small ones, XOR, sensors, shapes, Python's own source code, and dialogues.

The files are read from scikit-learn's folder, without importing it, which would take seconds.
"""

import gzip
import importlib.util
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from stoker.datasets.records import Records, table
from stoker.datasets.sources.boxed_shapes import boxed_shapes
from stoker.datasets.sources.captions import captions
from stoker.datasets.sources.documents import documents
from stoker.datasets.sources.instructions import instructions
from stoker.datasets.sources.questions import questions
from stoker.datasets.sources.sensors import sensors
from stoker.datasets.sources.shapes import shapes
from stoker.errors import ClusterError
from stoker.job.builtin import BUILTIN

IRIS = ["sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm"]
WINE = [
    "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
    "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280_od315", "proline",
]  # fmt: skip
DIABETES = ["age", "sex", "bmi", "bp", "s1_tc", "s2_ldl", "s3_hdl", "s4_tch", "s5_ltg", "s6_glu"]
CELL = [
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave_points", "symmetry",
    "fractal_dimension",
]  # fmt: skip
NO_LIBRARY = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "ensurepip", "pydoc_data"})
"""Folders of Python's library that hold something else."""


def read_builtin(name: str) -> Records:
    """Read a dataset of `job.dataset.BUILTIN`.

    Raises:
        ClusterError: scikit-learn, which ships the data, is not installed.

    """
    return READERS[name]()


def _xor() -> Records:
    corners = [(0, 0, "0"), (0, 1, "1"), (1, 0, "1"), (1, 1, "0")]
    return table(pd.DataFrame(corners * 50, columns=["x1", "x2", "y"]), BUILTIN["xor"].label)


def _iris() -> Records:
    return _csv("iris", "iris.csv", IRIS, ("setosa", "versicolor", "virginica"))


def _wine() -> Records:
    return _csv("wine", "wine_data.csv", WINE, ("1", "2", "3"))


def _breast_cancer() -> Records:
    columns = [f"{statistic}_{measure}" for statistic in ("mean", "error", "worst") for measure in CELL]
    return _csv("breast-cancer", "breast_cancer.csv", columns, ("malignant", "benign"))


def _csv(name: str, file: str, columns: list[str], classes: tuple[str, ...]) -> Records:
    label = BUILTIN[name].label
    frame = pd.read_csv(_data_folder() / file, skiprows=1, names=[*columns, label])
    frame[label] = [classes[number] for number in frame[label]]
    return table(frame, label)


def _diabetes() -> Records:
    label = BUILTIN["diabetes"].label
    frame = pd.DataFrame(np.loadtxt(_data_folder() / "diabetes_data_raw.csv.gz"), columns=DIABETES)
    frame[label] = np.loadtxt(_data_folder() / "diabetes_target.csv.gz")
    return table(frame, label)


def _digits() -> Records:
    with gzip.open(_data_folder() / "digits.csv.gz", "rt") as file:
        content = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    pixels = (content[:, :64].astype(np.uint16) * 255 // 16).astype(np.uint8)  # the file counts ink from 0 to 16
    names = tuple(f"digits[{number}]" for number in range(len(content)))
    labels = pd.Series(content[:, 64].astype(str), dtype=object)
    label = BUILTIN["digits"].label
    return Records({"image": pixels.reshape(-1, 8, 8, 1), label: labels}, label, None, names)


def _digit_pairs() -> Records:
    """Return pairs of digits, one of each half of the dataset, so that no digit is in two pairs."""
    digits = _digits()
    pixels, labels = digits.columns["image"], digits.columns[digits.label]
    assert isinstance(pixels, np.ndarray)
    assert isinstance(labels, pd.Series)
    half = len(labels) // 2
    left, right = slice(0, half), slice(half, 2 * half)
    pairs = np.concatenate([pixels[left], pixels[right]], axis=2)
    both = zip(labels[left], labels[right], strict=True)
    label = BUILTIN["digit-pairs"].label
    tags = pd.Series([";".join(sorted(set(pair))) for pair in both], dtype=object)
    return Records({"image": pairs, label: tags}, label, None, tuple(f"digit-pairs[{i}]" for i in range(half)))


def _python_library() -> Records:
    """Return the modules of the running Python, without tests and what was installed beside them."""
    root = Path(sysconfig.get_path("stdlib"))
    files = [file for file in sorted(root.rglob("*.py")) if not NO_LIBRARY & set(file.relative_to(root).parts)]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return Records(
        {"text": pd.Series(texts, dtype=object)}, names=tuple(file.relative_to(root).as_posix() for file in files)
    )


def _data_folder() -> Path:
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise ClusterError(
            "the built-in datasets come with scikit-learn, which is not installed: pip install scikit-learn"
        )
    return Path(found.submodule_search_locations[0]) / "datasets" / "data"


READERS: dict[str, Callable[[], Records]] = {
    "xor": _xor,
    "iris": _iris,
    "wine": _wine,
    "breast-cancer": _breast_cancer,
    "diabetes": _diabetes,
    "sensors": sensors,
    "digits": _digits,
    "digit-pairs": _digit_pairs,
    "shapes": shapes,
    "shape-boxes": boxed_shapes,
    "python-library": _python_library,
    "instructions": instructions,
    "who-has-what": questions,
    "keyword-documents": documents,
    "shapes-captions": captions,
}
