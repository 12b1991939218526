"""Files that are replaced as a whole."""

import pytest

from stoker.atomic_files import replace_file


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path, sync):
    path = tmp_path / "state.json"
    replace_file(path, "old", sync)
    replace_file(path, b"new \xc3\xa9", sync)
    assert path.read_text(encoding="utf-8") == "new é"
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_a_failed_write_leaves_the_old_content(tmp_path):
    path = tmp_path / "state.json"
    replace_file(path, "old")
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "\ud800")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
