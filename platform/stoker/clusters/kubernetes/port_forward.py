"""A port of this machine that leads to a pod: for what no ingress makes public."""

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kubernetes import client, stream

HOST = "127.0.0.1"
PIECE_BYTES = 1 << 16
PROXY = "Kubernetes port forward proxy"
"""How the library calls its threads."""


@contextmanager
def tunnel(api: Any, namespace: str, pod: str, port: int, local: int = 0) -> Iterator[int]:
    """Listen for the length of the block, and carry each connection to a pod; yield the port of this machine.

    Args:
        api: the ApiClient, which no other thread uses meanwhile: the library's forwarding changes it for a moment.
        namespace: of the pod.
        pod: its name.
        port: of the pod.
        local: where to listen; 0 for any free port.

    Raises:
        ApiException: the API server does not let us.

    """
    way = _Way(client.CoreV1Api(api), namespace, pod, port)
    way.open()
    _keep_quiet_of_ends()
    with socket.create_server((HOST, local)) as listener:
        listening = threading.Thread(target=_accept, args=(listener, way), name="tunnel", daemon=True)
        listening.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # `accept` does not notice that its socket is closed
    listening.join(timeout=5)


class _Way:
    """The way to a pod. The first connection is made before anybody asks for one: it tells whether there is a way."""

    def __init__(self, core: Any, namespace: str, pod: str, port: int) -> None:
        self._core, self._namespace, self._pod, self._port = core, namespace, pod, port
        self._ready: Any = None

    def open(self) -> None:
        """Connect."""
        connect = self._core.connect_get_namespaced_pod_portforward
        forward = stream.portforward(connect, self._pod, self._namespace, ports=str(self._port))
        self._ready = forward.socket(self._port)

    def take(self) -> Any:
        """Return a connection."""
        if self._ready is None:
            self.open()
        ready, self._ready = self._ready, None
        return ready


def _keep_quiet_of_ends() -> None:
    """Keep the library from showing a traceback where somebody hangs up, which its threads may notice later."""
    shown = threading.excepthook
    if isinstance(shown, _Hook):
        return
    threading.excepthook = _Hook(shown)


class _Hook:
    """What threads that end with an error are shown by, but for those of the library that were hung up on."""

    def __init__(self, shown: Callable[[threading.ExceptHookArgs], Any]) -> None:
        self._shown = shown

    def __call__(self, told: threading.ExceptHookArgs) -> None:
        ours = told.thread is not None and told.thread.name.startswith(PROXY)
        if not (ours and isinstance(told.exc_value, OSError)):
            self._shown(told)


def _accept(listener: socket.socket, way: _Way) -> None:
    while True:
        try:
            here, _ = listener.accept()
        except OSError:  # the block has ended
            return
        try:
            there = way.take()
        except Exception:  # the pod is gone, or the way to it: whoever has connected sees a closed connection
            here.close()
            continue
        threading.Thread(target=_carry, args=(here, there), name="tunnel", daemon=True).start()


def _carry(here: socket.socket, there: Any) -> None:
    """Carry bytes both ways until one side is done."""
    with here, selectors.DefaultSelector() as ready:
        ready.register(here, selectors.EVENT_READ, there)
        ready.register(there, selectors.EVENT_READ, here)
        with suppress(OSError):
            while True:
                for key, _ in ready.select():
                    content = key.fileobj.recv(PIECE_BYTES)  # type: ignore[union-attr] # only sockets are registered
                    if not content:
                        there.close()
                        return
                    key.data.sendall(content)
        there.close()
