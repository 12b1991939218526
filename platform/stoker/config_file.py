"""The user's config file: its path, and edits that keep comments and all other lines."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.errors import JobError, Problem


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the config file, whether it exists or not."""
    base = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "stoker" / "config.yaml"


def add_cluster(name: str, keys: Mapping[str, str], is_default: bool) -> Path:
    """Add a cluster to the config file and return the path of the file.

    Raises:
        JobError: `clusters` is written in one line and has to be edited by hand.

    """
    path = config_path()
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    text = with_cluster(text, name, keys)
    if is_default:
        text = with_default(text, name)
    _write(path, text)
    return path


def remove_cluster(name: str) -> Path:
    """Remove a cluster from the config file and return the path of the file.

    Raises:
        JobError: `clusters` is written in one line and has to be edited by hand.

    """
    path = config_path()
    _write(path, without_cluster(path.read_text(encoding="utf-8"), name))
    return path


def with_cluster(text: str, name: str, keys: Mapping[str, str]) -> str:
    """Return the text of a config file with a cluster added; comments are kept."""
    import yaml

    entry = yaml.safe_dump({name: {key: value for key, value in keys.items() if value}}, default_flow_style=None)
    clusters = _entry(text, "clusters")
    if clusters is None:
        head = text if not text or text.endswith("\n") else f"{text}\n"
        return f"{head}clusters:\n  {entry}"
    _, value = clusters
    if not isinstance(value, yaml.MappingNode) or value.flow_style or not value.value:
        raise _by_hand("clusters")
    first = value.value[0][0].start_mark
    lines = text.splitlines(keepends=True)
    return "".join([*lines[: first.line], f"{' ' * first.column}{entry}", *lines[first.line :]])


def without_cluster(text: str, name: str) -> str:
    """Return the text of a config file without a cluster; the key `clusters` goes with the last one."""
    import yaml

    clusters = _entry(text, "clusters")
    if clusters is None or not isinstance(clusters[1], yaml.MappingNode) or clusters[1].flow_style:
        raise _by_hand("clusters")
    pairs = clusters[1].value
    pair = next(pair for pair in pairs if pair[0].value == name)
    text = _without(text, clusters if len(pairs) == 1 else pair)
    default = _entry(text, "cluster")
    return _without(text, default) if default and default[1].value == name else text


def with_default(text: str, name: str) -> str:
    """Return the text of a config file in which a cluster is the default of new runs."""
    before = _entry(text, "cluster")
    import yaml

    rest = _without(text, before) if before else text
    head, begin, body = rest.partition("---\n") if rest.startswith("---\n") else ("", "", rest)
    return f"{head}{begin}{yaml.safe_dump({'cluster': name})}{body}"


def _entry(text: str, key: str) -> tuple[Any, Any] | None:
    """Return the nodes of a top-level key and its value, with their positions; None if the key is absent."""
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((pair for pair in pairs if pair[0].value == key), None)


def _without(text: str, pair: tuple[Any, Any]) -> str:
    """Return the text without the lines of a key and its value."""
    lines = text.splitlines(keepends=True)
    end = pair[1].end_mark
    last = end.line if end.column == 0 else end.line + 1
    while last > pair[0].start_mark.line + 1 and _is_blank_or_comment(lines[last - 1]):
        last -= 1  # comments in front of the next key belong to that key
    return "".join([*lines[: pair[0].start_mark.line], *lines[last:]])


def _is_blank_or_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _by_hand(key: str) -> JobError:
    return JobError([Problem(key, f"is written in one line in {config_path()}; change it there by hand")])


def _write(path: Path, text: str) -> None:
    """Replace the file atomically; only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
