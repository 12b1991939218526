"""Where runs and their record are kept: flag > environment > config file > embedded default."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from stoker.config_file import config_path
from stoker.errors import JobError, NotFound, Problem

KEYS = ("home", "tracking_uri", "storage", "cluster", "clusters", "cache", "cache_size")
CACHE_SIZE = "50GiB"
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(MiB|GiB|TiB)")
_SIZE_BYTES = {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
CLUSTER_KEYS = ("kube_context", "namespace")
RAY_KEYS = ("ray_address", "storage", "tracking_uri", "insecure")
HERE = "local"
"""The name of this machine among the clusters."""


@dataclass(frozen=True)
class ClusterSettings:
    """A namespace of a Kubernetes cluster."""

    name: str
    kube_context: str = ""
    """Of the kubeconfig; empty: its current one."""
    namespace: str = "stoker"


@dataclass(frozen=True)
class RayClusterSettings:
    """A standing Ray cluster."""

    name: str
    ray_address: str
    """Of its dashboard, such as `https://head:8265`: Ray's Jobs API is there."""
    storage: str
    """Where checkpoints go: what every node of it reaches, `s3://BUCKET/PREFIX` or a folder that all of them share."""
    tracking_uri: str = ""
    """MLflow, as the nodes reach it; empty: for jobs with `tracking: none` alone."""
    insecure: str = "no"
    """`yes` sends Ray's token over plain http to another machine, for whoever listens."""


@dataclass(frozen=True)
class Settings:
    """The places this user works with."""

    home: Path
    """One folder a run, and the embedded MLflow store."""
    tracking_uri: str
    """MLflow's tracking URI; the embedded default is a SQLite file in the home folder."""
    storage: str = ""
    """Where checkpoints go: a folder or a bucket; empty means each run's own folder."""
    cluster: str = HERE
    """Where new runs go: this machine, or the name of one of the clusters."""
    clusters: Mapping[str, ClusterSettings | RayClusterSettings] = field(default_factory=dict)
    cache: Path | None = None
    """Where downloaded data is kept; None means in the home folder."""
    cache_bytes: int = 50 << 30
    """How much downloaded data is kept; what is unused for longest goes first."""

    @property
    def data_cache(self) -> Path:
        """Where downloaded data is kept."""
        return self.cache or self.home / "cache" / "data"

    def cluster_named(self, name: str) -> ClusterSettings | RayClusterSettings:
        """Look a cluster up.

        Raises:
            NotFound: there is none of this name.

        """
        if name not in self.clusters:
            known = ", ".join([HERE, *self.clusters])
            raise NotFound(f"no cluster '{name}' in {config_path()}; there are {known}")
        return self.clusters[name]

    @property
    def embedded(self) -> bool:
        """Whether the record lies in this home rather than with a server."""
        return self.tracking_uri == embedded_uri(self.home)

    @property
    def artifacts(self) -> Path:
        """Where the embedded MLflow store keeps files."""
        return self.home / "artifacts"

    def of_run(self, tracking_uri: str, storage: str) -> "Settings":
        """Return the places that a run was begun with; their password is taken from here, since runs keep none.

        Args:
            tracking_uri: where it is recorded; empty with `tracking: none`.
            storage: where its checkpoints are.

        """
        same = tracking_uri in ("", without_password(self.tracking_uri))
        return replace(self, tracking_uri=self.tracking_uri if same else tracking_uri, storage=storage)


def embedded_uri(home: Path) -> str:
    """Name the SQLite store of a home folder; absolute, since MLflow's own default depends on the working directory."""
    return f"sqlite:///{home / 'mlflow.db'}"


def load_settings(
    home: str | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    environment: Mapping[str, str] = os.environ,
    cluster: str | None = None,
) -> Settings:
    """Combine flags, environment and config file.

    Raises:
        JobError: the config file is not a mapping of known keys to strings, or the size of the cache is none.

    """
    file = _config_file(environment)
    said = {key: value for key, value in file.items() if isinstance(value, str)}
    chosen_home = home or environment.get("STOKER_HOME") or said.get("home") or "~/.stoker"
    path = Path(chosen_home).expanduser().absolute()
    uri = tracking_uri or environment.get("MLFLOW_TRACKING_URI") or said.get("tracking_uri") or embedded_uri(path)
    kept = environment.get("STOKER_STORAGE", said.get("storage", "")) if storage is None else storage
    place = cluster or environment.get("STOKER_CLUSTER") or said.get("cluster") or HERE
    clusters = {name: _cluster(name, keys) for name, keys in file.get("clusters", {}).items()}
    cache = environment.get("STOKER_CACHE") or said.get("cache")
    cache_bytes = _size_bytes(environment.get("STOKER_CACHE_SIZE") or said.get("cache_size") or CACHE_SIZE)
    return Settings(
        path,
        _absolute(uri),
        _absolute_storage(kept),
        place,
        clusters,
        Path(cache).expanduser().absolute() if cache else None,
        cache_bytes,
    )


def _size_bytes(size: str) -> int:
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise JobError([Problem("cache_size", f"'{size}' is not a size (examples: 500MiB, 50GiB, 2TiB)")])
    return round(float(found[1]) * _SIZE_BYTES[found[2]])


def _absolute(uri: str) -> str:
    """Make a store in a file independent of the working directory, which is another one for a run's driver."""
    for scheme in ("sqlite:///", "file:"):
        if uri.startswith(scheme) and not uri.startswith((f"{scheme}/", "file:/")):
            return f"{scheme}{Path(uri.removeprefix(scheme)).absolute()}"
    return uri if "://" in uri or uri.startswith("file:") else str(Path(uri).absolute())


def _absolute_storage(storage: str) -> str:
    return storage if not storage or "://" in storage else str(Path(storage).expanduser().absolute())


def is_server(uri: str) -> bool:
    """Whether a tracking URI names a server rather than a store."""
    return uri.startswith(("http://", "https://"))


def without_password(uri: str) -> str:
    """Take user and password out of an address, so that it can be printed."""
    parts = urlsplit(uri)
    _, secret, host = parts.netloc.rpartition("@")
    return (urlunsplit(parts._replace(netloc=host)) if secret else uri).rstrip("/")


def _config_file(environment: Mapping[str, str]) -> dict[str, Any]:
    path = config_path(environment)
    if not path.is_file():
        return {}
    import yaml  # only who has a config file pays for its reader

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise JobError([Problem("", f"{path} is not YAML: {str(error).splitlines()[0]}")]) from error
    if not isinstance(content, dict) or not all(
        isinstance(value, str) for key, value in content.items() if key != "clusters"
    ):
        raise JobError([Problem("", f"{path}: expected lines of 'key: text'; the keys are {', '.join(KEYS)}")])
    if unknown := [key for key in content if key not in KEYS]:
        raise JobError([Problem(str(unknown[0]), f"unknown key in {path}; the keys are {', '.join(KEYS)}")])
    if problem := _cluster_problem(content.get("clusters", {})):
        raise JobError([Problem("clusters", f"{problem} in {path}")])
    return content


def _cluster(name: str, keys: Mapping[str, str]) -> ClusterSettings | RayClusterSettings:
    return RayClusterSettings(name, **keys) if "ray_address" in keys else ClusterSettings(name, **keys)


def _cluster_problem(clusters: object) -> str:
    """Say what is wrong with the clusters of the config file; empty for nothing."""
    if not isinstance(clusters, dict):
        return "expected names of clusters, each with its keys"
    every = f"{', '.join(CLUSTER_KEYS)} of a Kubernetes cluster, or {', '.join(RAY_KEYS)} of a standing Ray"
    for name, keys in clusters.items():
        if name == HERE:
            return f"'{HERE}' is the name of this machine; call the cluster something else"
        if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
            return f"expected lines of 'key: text' below '{name}'; the keys are {every}"
        if unknown := [key for key in keys if key not in (*CLUSTER_KEYS, *RAY_KEYS)]:
            return f"unknown key '{unknown[0]}' below '{name}' (the keys are {every})"
        of_ray = [key for key in keys if key in RAY_KEYS]
        if of_ray and (problem := _ray_problem(keys)):
            return f"{problem} below '{name}'"
    return ""


def _ray_problem(keys: Mapping[str, str]) -> str:
    """Say what is wrong with the keys of one standing Ray; empty for nothing."""
    if foreign := [key for key in keys if key in CLUSTER_KEYS]:
        given = next(key for key in keys if key in RAY_KEYS)
        return f"a cluster is either a Kubernetes namespace ({foreign[0]}) or a standing Ray ({given}), not both"
    if missing := [key for key in ("ray_address", "storage") if not keys.get(key)]:
        return f"a standing Ray needs {missing[0]}"
    try:
        address = urlsplit(keys["ray_address"])
        usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable or "@" in keys["ray_address"]:
        return f"ray_address '{without_password(keys['ray_address'])}' is not like https://head:8265"
    if not keys["storage"].startswith(("s3://", "file:///", "/")):
        return f"storage '{keys['storage']}' is not s3://BUCKET/PREFIX or the absolute path of a folder of all nodes"
    if keys.get("insecure", "no") not in ("yes", "no"):
        return f'insecure \'{keys["insecure"]}\' is not "yes" or "no"'
    return ""
