"""Whether a column is written in another way than the one that a field has learnt from."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from stoker.datasets.records import Files, RawColumn
from stoker.datasets.values.numerals import is_missing
from stoker.errors import JobError, Problem


def require_notation(
    name: str, column: RawColumn, unread: np.ndarray, what: str, reads_otherwise: Callable[[pd.Series], bool]
) -> None:
    """Raise if the cells of a column that cannot be read are written in another way; other texts count as missing.

    Args:
        name: of the column.
        column: its (N,) cells.
        unread: (N,) whether each cell could not be read.
        what: what its cells should be, such as `numbers with a decimal point`.
        reads_otherwise: whether most of some cells can be read in another way.

    Raises:
        JobError: most of the unread cells can.

    """
    if not unread.any() or isinstance(column, Files):
        return
    cells = pd.Series(column).reset_index(drop=True)
    wrong = cells[unread].dropna()
    wrong = wrong[[not is_missing(cell) for cell in wrong]]
    if len(wrong) and reads_otherwise(wrong):
        message = f"column '{name}', row {int(wrong.index[0]) + 1}: '{wrong.iloc[0]}'"
        cure = "write them as the rows to learn from have them"
        raise JobError([Problem("dataset.columns", f"{message} and others are not {what}; {cure}")])
