"""Ports and network interfaces of this machine."""

import os
import socket


def free_port() -> int:
    """Return a port that no process of this machine listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def network_variables() -> dict[str, str]:
    """Return what binds gloo and NCCL to this node's network interface, which the host name need not resolve to."""
    import psutil
    import ray

    address = ray.util.get_node_ip_address()
    for name, addresses in psutil.net_if_addrs().items():
        if any(known.family == socket.AF_INET and known.address == address for known in addresses):
            found = {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}
            return {key: os.environ.get(key, value) for key, value in found.items()}
    return {}
