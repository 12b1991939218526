"""Forwarding a local port to a pod, for services without an ingress."""

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kubernetes import client, stream

HOST = "127.0.0.1"
CHUNK_BYTES = 1 << 16
LIBRARY_THREAD = "Kubernetes port forward proxy"
"""Start of the names of the library's threads."""


@contextmanager
def forwarded_port(api: Any, namespace: str, pod: str, port: int, local: int = 0) -> Iterator[int]:
    """Listen on a local port during the block, forward each connection to a pod, and yield the local port.

    Args:
        api: an ApiClient that no other thread uses meanwhile: the library modifies it while it connects.
        namespace: of the pod.
        pod: its name.
        port: of the pod.
        local: port to listen on; 0 for any free one.

    Raises:
        ApiException: the API server refuses.

    """
    connections = _PodConnections(client.CoreV1Api(api), namespace, pod, port)
    connections.prepare()
    _silence_disconnects()
    with socket.create_server((HOST, local)) as listener:
        listening = threading.Thread(target=_accept, args=(listener, connections), name="port-forward", daemon=True)
        listening.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # `accept` does not notice a closed socket
    listening.join(timeout=5)


class _PodConnections:
    """Opens connections to a pod; the first one in advance, so that a refusal shows before anybody listens."""

    def __init__(self, core: Any, namespace: str, pod: str, port: int) -> None:
        self._core, self._namespace, self._pod, self._port = core, namespace, pod, port
        self._prepared: Any = None

    def prepare(self) -> None:
        """Open a connection for the next `take`."""
        connect = self._core.connect_get_namespaced_pod_portforward
        forward = stream.portforward(connect, self._pod, self._namespace, ports=str(self._port))
        self._prepared = forward.socket(self._port)

    def take(self) -> Any:
        """Return a connection."""
        if self._prepared is None:
            self.prepare()
        prepared, self._prepared = self._prepared, None
        return prepared


def _silence_disconnects() -> None:
    """Suppress the traceback that a thread of the library prints when the other side disconnects."""
    original = threading.excepthook
    if isinstance(original, _ExceptHook):
        return
    threading.excepthook = _ExceptHook(original)


class _ExceptHook:
    """Passes on all uncaught exceptions of threads, except disconnects in the library's own."""

    def __init__(self, original: Callable[[threading.ExceptHookArgs], Any]) -> None:
        self._original = original

    def __call__(self, uncaught: threading.ExceptHookArgs) -> None:
        of_library = uncaught.thread is not None and uncaught.thread.name.startswith(LIBRARY_THREAD)
        if not (of_library and isinstance(uncaught.exc_value, OSError)):
            self._original(uncaught)


def _accept(listener: socket.socket, connections: _PodConnections) -> None:
    while True:
        try:
            local, _ = listener.accept()
        except OSError:  # the block has ended
            return
        try:
            remote = connections.take()
        except Exception:  # the pod is gone or not reachable: the local client sees a closed connection
            local.close()
            continue
        threading.Thread(target=_relay, args=(local, remote), name="port-forward", daemon=True).start()


def _relay(local: socket.socket, remote: Any) -> None:
    """Copy bytes in both directions until one side closes."""
    with local, selectors.DefaultSelector() as ready:
        ready.register(local, selectors.EVENT_READ, remote)
        ready.register(remote, selectors.EVENT_READ, local)
        with suppress(OSError):
            while True:
                for key, _ in ready.select():
                    content = key.fileobj.recv(CHUNK_BYTES)  # type: ignore[union-attr] # only sockets are registered
                    if not content:
                        remote.close()
                        return
                    key.data.sendall(content)
        remote.close()
