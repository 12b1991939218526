from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stoker.datasets.columns import Column, Dense, Lazy, Ragged, Windows, joined
from stoker.datasets.records import Files

SEQUENCES = st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=8)
CPU = torch.device("cpu")


def decoded(files: Files) -> Tensor:
    return torch.tensor([[int(path.stem)] for path in files.paths])


def numbered(count: int) -> Lazy:
    return Lazy(Files(tuple(Path(f"{number}.png") for number in range(count))), decoded)


COLUMNS: dict[str, Column] = {
    "dense": Dense(torch.arange(8).reshape(4, 2)),
    "ragged": Ragged.of([[3], [], [1, 2], [4]]),
    "cut": replace(Ragged.of([[3], [], [1, 2], [4]]), whole=torch.tensor([1, 0, 9, 1], dtype=torch.int32)),
    "windows": Windows(torch.arange(14).reshape(7, 2), torch.tensor([1, 4, 2, 0]), torch.tensor([0, 1, 2])),
    "lazy": numbered(4),
}


@pytest.mark.parametrize("kind", COLUMNS)
class TestEveryColumn:
    """The contract of columns with batches and samples."""

    def test_its_length_is_the_number_of_rows(self, kind: str):
        assert len(COLUMNS[kind]) == 4
        assert len(COLUMNS[kind].rows(torch.tensor([2, 2, 0]))) == 3
        assert len(COLUMNS[kind].rows(torch.tensor([], dtype=torch.int64))) == 0

    def test_picked_rows_equal_taken_rows(self, kind: str):
        column, picked = COLUMNS[kind], torch.tensor([3, 0, 2])
        assert torch.equal(column.rows(picked).take(torch.arange(3)), column.take(picked))

    def test_picked_rows_are_independent(self, kind: str):
        column = COLUMNS[kind].rows(torch.arange(4))
        before = COLUMNS[kind].take(torch.arange(4)).clone()
        for tensor in column.tensors.values():
            tensor.zero_()
        assert torch.equal(COLUMNS[kind].take(torch.arange(4)), before)

    def test_its_tensors_rebuild_it(self, kind: str):
        column = COLUMNS[kind]
        if column.tensors:
            assert torch.equal(type(column)(**column.tensors).take(torch.arange(4)), column.take(torch.arange(4)))

    def test_what_was_cut_off_is_counted_for_picked_rows(self, kind: str):
        column = COLUMNS[kind]
        if isinstance(column, Ragged) and column.whole is not None:
            picked = column.rows(torch.tensor([2, 0])).to(CPU)
            assert isinstance(picked, Ragged)
            assert picked.whole is not None
            assert picked.whole.tolist() == [9, 1]

    def test_it_is_the_same_on_its_own_device(self, kind: str):
        column = COLUMNS[kind]
        assert torch.equal(column.to(CPU).take(torch.arange(4)), column.take(torch.arange(4)))


def test_sequences_are_padded_with_0_at_the_end():
    column = Ragged.of([[7, 8, 9], [5], [], [1, 2]])
    assert column.lengths().tolist() == [3, 1, 0, 2]
    assert column.take(torch.tensor([1, 0])).tolist() == [[5, 0, 0], [7, 8, 9]]
    assert column.take(torch.tensor([1, 3, 2])).tolist() == [[5, 0], [1, 2], [0, 0]]
    assert column.take(torch.tensor([3])).tolist() == [[1, 2]]


def test_windows_overlap_and_share_the_memory_of_their_arrays():
    series = torch.arange(100_000.0)
    column = Windows(series, torch.arange(0, 99_900, 3), torch.tensor([0, 1, 2, 4]))
    assert column.take(torch.tensor([0, 2])).tolist() == [[0, 1, 2, 4], [6, 7, 8, 10]]
    assert column.tensors["values"].data_ptr() == series.data_ptr()


def test_windows_keep_only_the_stretch_that_they_need():
    series = torch.arange(100.0)
    column = Windows(series, torch.arange(90), torch.arange(10)).rows(torch.tensor([50, 41, 44]))
    assert column.tensors["values"].tolist() == list(range(41, 60))
    assert column.take(torch.tensor([1, 0]))[:, 0].tolist() == [41, 50]


def test_empty_sequences_are_padded_to_one_value():
    for column in (Ragged.of([[], []]), Ragged.of([[], [4], []]).rows(torch.tensor([0, 2]))):
        assert column.take(torch.tensor([0, 1])).tolist() == [[0], [0]]
        assert column.tensors["values"].tolist() == []
    assert Ragged.of([[1], [2]]).take(torch.tensor([], dtype=torch.int64)).shape == (0, 1)
    assert len(Ragged.of([])) == 0


@given(SEQUENCES, st.data())
def test_ragged_rows_are_those_of_a_list_of_lists(sequences: list[list[int]], data: st.DataObject):
    rows = data.draw(st.lists(st.integers(0, len(sequences) - 1), max_size=10))
    index = torch.tensor(rows, dtype=torch.int64)
    expected = [sequences[row] for row in rows]
    width = max(1, *map(len, expected), 1)
    column = Ragged.of(sequences)
    padded = [each + [0] * (width - len(each)) for each in expected]
    assert column.take(index).tolist() == padded
    copied = column.rows(index)
    assert torch.equal(copied.offsets, Ragged.of(expected).offsets)
    assert torch.equal(copied.values, Ragged.of(expected).values)


def test_only_the_files_of_the_rows_are_decoded():
    column = numbered(5)
    assert column.take(torch.tensor([4, 1])).tolist() == [[4], [1]]
    assert column.rows(torch.tensor([3, 2])).take(torch.tensor([1])).tolist() == [[2]]
    assert column.tensors == {}


def test_columns_that_share_a_tensor_are_concatenated():
    one, two = Dense(torch.tensor([[1], [2]])), Dense(torch.tensor([[3, 4], [5, 6]]))
    both = joined([one, two])
    assert isinstance(both, Dense)
    assert both.values.tolist() == [[1, 3, 4], [2, 5, 6]]
    alone = Ragged.of([[1]])
    assert joined([alone]) is alone


def test_picked_rows_only_use_their_own_memory():
    column = Dense(torch.from_numpy(np.zeros((100, 8), np.uint8))).rows(torch.arange(2))
    assert column.values.untyped_storage().nbytes() == 16
