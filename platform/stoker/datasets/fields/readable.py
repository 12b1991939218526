"""Whether a column can be read as the values that a field has learnt from."""

import numpy as np
import pandas as pd

from stoker.datasets.numerals import is_missing
from stoker.datasets.records import Files, RawColumn
from stoker.errors import JobError, Problem


def require_readable(name: str, column: RawColumn, unread: np.ndarray, what: str) -> None:
    """Raise if most cells of a column that hold something could not be read: the column is written in another way.

    Args:
        name: of the column.
        column: its (N,) cells.
        unread: (N,) whether each cell could not be read.
        what: what its cells should be, such as `numbers with a decimal point`.

    Raises:
        JobError: most cells are something else.

    """
    if not unread.any() or isinstance(column, Files):
        return
    cells = pd.Series(column)
    known = np.array([not is_missing(cell) for cell in cells], bool) & cells.notna().to_numpy()
    wrong = known & unread
    if 2 * wrong.sum() > known.sum():
        first = int(np.flatnonzero(wrong)[0])
        message = f"column '{name}', row {first + 1}: '{cells.iloc[first]}' is not one of {what}, nor are most others"
        raise JobError([Problem("dataset.columns", f"{message}; write them as the rows to learn from have them")])
