"""The user's settings: home, MLflow, storage and clusters; flag > environment > config file > embedded default."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from stoker.config_file import config_path
from stoker.errors import JobError, NotFound, Problem

KEYS = ("home", "tracking_uri", "storage", "cluster", "clusters", "cache", "cache_size")
CACHE_SIZE = "50GiB"
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(MiB|GiB|TiB)")
_SIZE_BYTES = {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
LOCAL = "local"
"""The cluster name that stands for this machine."""


@dataclass(frozen=True)
class ClusterSection(ABC):
    """A cluster of the config file; each kind is a subclass, whose fields are the keys."""

    title: ClassVar[str]
    """What a cluster of this kind is, for messages."""
    name: str

    @property
    @abstractmethod
    def where(self) -> str:
        """Return where the cluster is."""

    @property
    def mlflow(self) -> str:
        """Return the address of MLflow, where the user reaches it directly; empty by default."""
        return ""

    @classmethod
    def key_names(cls) -> tuple[str, ...]:
        """Return the keys that may stand below the name of a cluster."""
        return tuple(each.name for each in fields(cls) if each.name != "name")

    @classmethod
    def problem(cls, keys: Mapping[str, str]) -> str:
        """Return the first mistake in the keys, or an empty string; by default, a missing or empty key."""
        required = [each.name for each in fields(cls) if each.default is MISSING and each.name != "name"]
        missing = [key for key in required if not keys.get(key)]
        return f"{cls.title} needs {missing[0]}" if missing else ""


@dataclass(frozen=True)
class ClusterSettings(ClusterSection):
    """A namespace of a Kubernetes cluster."""

    title: ClassVar[str] = "a Kubernetes namespace"
    kube_context: str = ""
    """Context of the kubeconfig; empty: the current one."""
    namespace: str = "stoker"

    @property
    def where(self) -> str:
        """Return the namespace and the context."""
        context = f"context {self.kube_context}" if self.kube_context else "the kubeconfig's current context"
        return f"namespace {self.namespace}, {context}"


@dataclass(frozen=True)
class RayClusterSettings(ClusterSection):
    """A Ray cluster that is already running."""

    title: ClassVar[str] = "a standing Ray"
    ray_address: str
    """Address of its dashboard, such as `https://head:8265`, which also serves Ray's Jobs API."""
    storage: str
    """Storage of the checkpoints, reachable from every node: `s3://BUCKET/PREFIX` or a shared folder."""
    tracking_uri: str = ""
    """Address of MLflow as seen from the nodes; empty: only jobs with `tracking: none` can run."""
    insecure: str = "no"
    """`yes` permits sending Ray's token to another machine over unencrypted http."""

    @property
    def where(self) -> str:
        """Return the address."""
        return self.ray_address

    @property
    def mlflow(self) -> str:
        """Return the address of MLflow."""
        return self.tracking_uri

    @classmethod
    def problem(cls, keys: Mapping[str, str]) -> str:
        """Return the first mistake in the keys, or an empty string."""
        if missing := super().problem(keys):
            return missing
        try:
            address = urlsplit(keys["ray_address"])
            usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
        except ValueError:  # the port is not a number
            usable = False
        if not usable or "@" in keys["ray_address"]:
            return f"ray_address '{without_password(keys['ray_address'])}' is not like https://head:8265"
        if not keys["storage"].startswith(("s3://", "file:///", "/")):
            return (
                f"storage '{keys['storage']}' is not s3://BUCKET/PREFIX or the absolute path of a folder of all nodes"
            )
        if keys.get("insecure", "no") not in ("yes", "no"):
            return f'insecure \'{keys["insecure"]}\' is not "yes" or "no"'
        return ""


CLUSTER_SECTIONS: tuple[type[ClusterSection], ...] = (ClusterSettings, RayClusterSettings)
"""The kinds of cluster; a cluster is of the first kind that has all its keys."""


@dataclass(frozen=True)
class Settings:
    """The locations and clusters that a command works with."""

    home: Path
    """Folder with one subfolder per run and the embedded MLflow store."""
    tracking_uri: str
    """MLflow's tracking URI; the embedded default is a SQLite file in the home folder."""
    storage: str = ""
    """Folder or bucket of the checkpoints; empty: each run's own folder."""
    cluster: str = LOCAL
    """Target of new runs: `local` for this machine, or the name of a cluster."""
    clusters: Mapping[str, ClusterSection] = field(default_factory=dict)
    cache: Path | None = None
    """Where downloaded data is kept; None means in the home folder."""
    cache_bytes: int = 50 << 30
    """How much downloaded data is kept; what is unused for longest goes first."""

    @property
    def data_cache(self) -> Path:
        """Where downloaded data is kept."""
        return self.cache or self.home / "cache" / "data"

    def cluster_named(self, name: str) -> ClusterSection:
        """Return the settings of a cluster.

        Raises:
            NotFound: no cluster has this name.

        """
        if name not in self.clusters:
            known = ", ".join([LOCAL, *self.clusters])
            raise NotFound(f"no cluster '{name}' in {config_path()}; there are {known}")
        return self.clusters[name]

    @property
    def embedded(self) -> bool:
        """True if runs are recorded in the home folder rather than on a server."""
        return self.tracking_uri == embedded_uri(self.home)

    @property
    def artifacts(self) -> Path:
        """Artifact folder of the embedded MLflow store."""
        return self.home / "artifacts"

    def of_run(self, tracking_uri: str, storage: str) -> "Settings":
        """Return these settings with the MLflow address and storage that a run was started with.

        A run's record holds no password, so the current address is used where it differs only by its login.

        Args:
            tracking_uri: MLflow address in the run's record; empty with `tracking: none`.
            storage: storage of the run's checkpoints.

        """
        same = tracking_uri in ("", without_password(self.tracking_uri))
        return replace(self, tracking_uri=self.tracking_uri if same else tracking_uri, storage=storage)


def embedded_uri(home: Path) -> str:
    """Return the URI of a home's SQLite store; absolute, since MLflow's default depends on the working directory."""
    return f"sqlite:///{home / 'mlflow.db'}"


def load_settings(
    home: str | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    environment: Mapping[str, str] = os.environ,
    cluster: str | None = None,
) -> Settings:
    """Return the settings from flags, environment and config file.

    Raises:
        JobError: the config file is not a mapping of known keys to strings, or the size of the cache is none.

    """
    file = _config_file(environment)
    texts = {key: value for key, value in file.items() if isinstance(value, str)}
    chosen_home = home or environment.get("STOKER_HOME") or texts.get("home") or "~/.stoker"
    path = Path(chosen_home).expanduser().absolute()
    uri = tracking_uri or environment.get("MLFLOW_TRACKING_URI") or texts.get("tracking_uri") or embedded_uri(path)
    chosen_storage = environment.get("STOKER_STORAGE", texts.get("storage", "")) if storage is None else storage
    target = cluster or environment.get("STOKER_CLUSTER") or texts.get("cluster") or LOCAL
    clusters = {name: _cluster(name, keys) for name, keys in file.get("clusters", {}).items()}
    cache = environment.get("STOKER_CACHE") or texts.get("cache")
    cache_bytes = _size_bytes(environment.get("STOKER_CACHE_SIZE") or texts.get("cache_size") or CACHE_SIZE)
    return Settings(
        path,
        _absolute_uri(uri),
        _absolute_storage(chosen_storage),
        target,
        clusters,
        Path(cache).expanduser().absolute() if cache else None,
        cache_bytes,
    )


def _size_bytes(size: str) -> int:
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise JobError([Problem("cache_size", f"'{size}' is not a size (examples: 500MiB, 50GiB, 2TiB)")])
    return round(float(found[1]) * _SIZE_BYTES[found[2]])


def _absolute_uri(uri: str) -> str:
    """Return a file-based URI with an absolute path: a run's driver has another working directory."""
    for scheme in ("sqlite:///", "file:"):
        if uri.startswith(scheme) and not uri.startswith((f"{scheme}/", "file:/")):
            return f"{scheme}{Path(uri.removeprefix(scheme)).absolute()}"
    return uri if "://" in uri or uri.startswith("file:") else str(Path(uri).absolute())


def _absolute_storage(storage: str) -> str:
    return storage if not storage or "://" in storage else str(Path(storage).expanduser().absolute())


def is_server(uri: str) -> bool:
    """Return whether a tracking URI is the address of a server rather than of a local store."""
    return uri.startswith(("http://", "https://"))


def without_password(uri: str) -> str:
    """Return an address without user and password, so that it can be printed."""
    parts = urlsplit(uri)
    _, secret, host = parts.netloc.rpartition("@")
    return (urlunsplit(parts._replace(netloc=host)) if secret else uri).rstrip("/")


def _config_file(environment: Mapping[str, str]) -> dict[str, Any]:
    path = config_path(environment)
    if not path.is_file():
        return {}
    import yaml  # imported late: without a config file no command waits for it

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


def _cluster(name: str, keys: Mapping[str, str]) -> ClusterSection:
    kind = _kind(keys)
    assert kind is not None
    return kind(name, **keys)


def _kind(keys: Mapping[str, str]) -> type[ClusterSection] | None:
    return next((kind for kind in CLUSTER_SECTIONS if keys.keys() <= set(kind.key_names())), None)


def _cluster_problem(clusters: object) -> str:
    """Return the first mistake in the clusters of the config file, or an empty string."""
    if not isinstance(clusters, dict):
        return "expected names of clusters, each with its keys"
    every = ", or ".join(f"{', '.join(kind.key_names())} of {kind.title}" for kind in CLUSTER_SECTIONS)
    for name, keys in clusters.items():
        if name == LOCAL:
            return f"'{LOCAL}' is the name of this machine; call the cluster something else"
        if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
            return f"expected lines of 'key: text' below '{name}'; the keys are {every}"
        if unknown := [key for key in keys if not any(key in kind.key_names() for kind in CLUSTER_SECTIONS)]:
            return f"unknown key '{unknown[0]}' below '{name}' (the keys are {every})"
        kind = _kind(keys)
        if problem := kind.problem(keys) if kind else _mixture(keys):
            return f"{problem} below '{name}'"
    return ""


def _mixture(keys: Mapping[str, str]) -> str:
    """Name the kinds of cluster whose keys are mixed, each with one of its keys."""
    found = {kind.title: [key for key in keys if key in kind.key_names()] for kind in CLUSTER_SECTIONS}
    return f"a cluster is either {' or '.join(f'{title} ({own[0]})' for title, own in found.items() if own)}, not both"
