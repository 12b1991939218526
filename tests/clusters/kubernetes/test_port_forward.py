"""What is seen of a way to a pod that has ended; the way itself is in tests/cluster."""

import threading

import pytest

from stoker.clusters.kubernetes import port_forward


@pytest.fixture
def shown(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    port_forward._silence_disconnects()
    port_forward._silence_disconnects()
    return told


@pytest.mark.parametrize(
    ("name", "error", "seen"),
    [
        (f"{port_forward.LIBRARY_THREAD}: 1", ConnectionResetError("reset by peer"), 0),
        (f"{port_forward.LIBRARY_THREAD}: 1", ValueError("a mistake"), 1),
        ("another", ConnectionResetError("reset by peer"), 1),
    ],
)
def test_only_the_librarys_threads_end_without_a_word_and_only_where_somebody_has_hung_up(shown, name, error, seen):
    def end():
        raise error

    thread = threading.Thread(target=end, name=name)
    thread.start()
    thread.join()
    assert len(shown) == seen
