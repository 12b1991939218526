"""A port of this machine that leads to a pod: for what no ingress makes public."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kubernetes import client, stream

HOST = "127.0.0.1"
PIECE_BYTES = 1 << 16


@contextmanager
def tunnel(api: Any, namespace: str, pod: str, port: int, local: int = 0) -> Iterator[int]:
    """Listen for the length of the block, and carry each connection to a pod; yield the port of this machine.

    Args:
        api: the ApiClient, which no other thread uses meanwhile: the library's forwarding changes it for a moment.
        namespace: of the pod.
        pod: its name.
        port: of the pod.
        local: where to listen; 0 for any free port.

    """
    core = client.CoreV1Api(api)
    with socket.create_server((HOST, local)) as listener:
        listening = threading.Thread(
            target=_accept, args=(listener, core, namespace, pod, port), name="tunnel", daemon=True
        )
        listening.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # `accept` does not notice that its socket is closed
    listening.join(timeout=5)


def _accept(listener: socket.socket, core: Any, namespace: str, pod: str, port: int) -> None:
    while True:
        try:
            here, _ = listener.accept()
        except OSError:  # the block has ended
            return
        try:
            forward = stream.portforward(core.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port))
            there = forward.socket(port)
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
