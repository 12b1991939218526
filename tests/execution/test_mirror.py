"""What crosses between a driver and workers that share no disk."""

from stoker.execution.mirror import PIECE_BYTES, fetch_results, keep_results
from stoker.storage import FolderStorage
from stoker.tracking.run_folder import RunFolder


def test_results_are_kept_in_pieces_and_come_home_as_they_were(tmp_path):
    there, home = RunFolder(tmp_path / "there"), RunFolder(tmp_path / "home")
    contents = {
        "model/weights": bytes(range(256)) * (PIECE_BYTES // 100),
        "model/code/own.py": b"",
        "artifacts/a.png": b"x" * PIECE_BYTES,
    }
    for name, content in contents.items():
        (there.path / name).parent.mkdir(parents=True, exist_ok=True)
        (there.path / name).write_bytes(content)
    storage = FolderStorage(tmp_path / "storage")
    storage.put("results/model/stale/000000000000000", [b"of an earlier attempt"])
    keep_results(there, storage)
    assert max(len(storage.get(key)) for key in storage.keys("")) == PIECE_BYTES
    fetch_results(home, storage)
    found = {str(path.relative_to(home.path)): path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    assert found == contents
