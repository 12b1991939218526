"""Forwarding a local port to a pod, for services without an ingress."""

import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any

from kubernetes import client, stream
from kubernetes.client.exceptions import ApiException

from stoker.clusters.kubernetes.api_errors import translated_errors
from stoker.errors import Unreachable
from stoker.settings import ClusterSettings

HOST = "127.0.0.1"
CHUNK_BYTES = 1 << 16
NEW_POD_S = 60.0
"""How long a connection waits for a pod that replaces a lost one."""
RETRY_S = 1.0
LIBRARY_THREAD = "Kubernetes port forward proxy"
"""Start of the names of the library's threads."""


@contextmanager
def forwarded_port(
    api: Any, cluster: ClusterSettings, namespace: str, find_pod: Callable[[], tuple[str, int]], local: int = 0
) -> Iterator[int]:
    """Listen on a local port during the block, forward each connection to a pod, and yield the local port.

    Args:
        api: an ApiClient that no other thread uses meanwhile: the library modifies it while it connects.
        cluster: whose name errors have.
        namespace: of the pod.
        find_pod: returns a pod that is ready now, and its port.
        local: port to listen on; 0 for any free one.

    Raises:
        ClusterError: the API server refuses, or does not answer.

    """
    connections = _PodConnections(client.CoreV1Api(api), namespace, find_pod)
    with translated_errors(cluster):
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
            connections.close()
    listening.join(timeout=5)


class _PodConnections:
    """Opens connections to a pod; the first one in advance, so that a refusal shows before anybody listens."""

    def __init__(self, core: Any, namespace: str, find_pod: Callable[[], tuple[str, int]]) -> None:
        self._core, self._namespace, self._find_pod = core, namespace, find_pod
        self._prepared: Any = None
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Open a connection for the next `take`."""
        self._prepared = self._connect()

    def take(self) -> Any:
        """Return a connection to a pod that is ready; wait for one while the last one is being replaced.

        Raises:
            StokerError, OSError, ApiException: there is none in time.

        """
        prepared, self._prepared = self._prepared, None
        if prepared is not None and not _is_closed(prepared):
            return prepared
        deadline = time.monotonic() + NEW_POD_S
        while True:
            try:
                with self._lock:
                    return self._connect()
            except (Unreachable, OSError, ApiException) as error:
                refused = isinstance(error, ApiException) and 0 < (error.status or 0) < HTTPStatus.INTERNAL_SERVER_ERROR
                if refused or time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_S)

    def close(self) -> None:
        """Close a connection that nobody has taken."""
        if self._prepared is not None:
            self._prepared.close()

    def _connect(self) -> Any:
        pod, port = self._find_pod()
        connect = self._core.connect_get_namespaced_pod_portforward
        return stream.portforward(connect, pod, self._namespace, ports=str(port)).socket(port)


def _is_closed(remote: Any) -> bool:
    """Return whether the other side has closed a connection over which nothing was sent yet."""
    with selectors.DefaultSelector() as ready:
        ready.register(remote, selectors.EVENT_READ)
        return bool(ready.select(timeout=0))


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
        threading.Thread(target=_serve, args=(local, connections), name="port-forward", daemon=True).start()


def _serve(local: socket.socket, connections: _PodConnections) -> None:
    try:
        remote = connections.take()
    except Exception:  # no pod is ready, or it is not reachable: the local client sees a closed connection
        local.close()
        return
    _relay(local, remote)


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
