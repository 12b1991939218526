"""The way from a client to the MLflow of a Kubernetes cluster, which may have a name that only the cluster knows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from stoker.clusters.kubernetes.api import KubeApi


@contextmanager
def reach_mlflow(api: KubeApi, namespace: str, port: int = 0) -> Iterator[tuple[str, str, str]]:
    """Reach it for the length of the block: yield address, user and password.

    Args:
        api: of the cluster.
        namespace: of the runs.
        port: of this machine, where it has to be led there; 0 for any.

    """
    profile = api.profile()
    address = urlsplit(profile.tracking_uri)
    service, _, domain = (address.hostname or "").partition(".")
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    if profile.login_secret and not user:
        login = api.secret(profile.login_secret)
        user, password = login["MLFLOW_TRACKING_USERNAME"], login["MLFLOW_TRACKING_PASSWORD"]
    if domain.partition(".")[0] == namespace:  # a name that only the cluster knows
        with api.tunnel(service, namespace, address.port or 80, port) as here:
            yield f"http://127.0.0.1:{here}", user, password
    else:
        yield profile.tracking_uri, user, password
