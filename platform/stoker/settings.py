"""Where runs and their record are kept: flag > environment > config file > embedded default."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from stoker.errors import JobError, Problem

KEYS = ("home", "tracking_uri", "storage")


@dataclass(frozen=True)
class Settings:
    """The places this user works with."""

    home: Path
    """One folder a run, and the embedded MLflow store."""
    tracking_uri: str
    """MLflow's tracking URI; the embedded default is a SQLite file in the home folder."""
    storage: str = ""
    """Where checkpoints go: a folder or a bucket; empty means each run's own folder."""

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
) -> Settings:
    """Combine flags, environment and config file.

    Raises:
        JobError: the config file is not a mapping of known keys to strings.

    """
    file = _config_file(environment)
    chosen_home = home or environment.get("STOKER_HOME") or file.get("home") or "~/.stoker"
    path = Path(chosen_home).expanduser().absolute()
    uri = tracking_uri or environment.get("MLFLOW_TRACKING_URI") or file.get("tracking_uri") or embedded_uri(path)
    kept = environment.get("STOKER_STORAGE", file.get("storage", "")) if storage is None else storage
    return Settings(path, _absolute(uri), _absolute_storage(kept))


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


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Name the config file, whether it exists or not."""
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "stoker" / "config.yaml"


def _config_file(environment: Mapping[str, str]) -> dict[str, str]:
    path = config_path(environment)
    if not path.is_file():
        return {}
    import yaml  # only who has a config file pays for its reader

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise JobError([Problem("", f"{path} is not YAML: {str(error).splitlines()[0]}")]) from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise JobError([Problem("", f"{path}: expected lines of 'key: text'; the keys are {', '.join(KEYS)}")])
    if unknown := [key for key in content if key not in KEYS]:
        raise JobError([Problem(str(unknown[0]), f"unknown key in {path}; the keys are {', '.join(KEYS)}")])
    return content
