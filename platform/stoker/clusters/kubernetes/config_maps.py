"""The inputs of a run as ConfigMaps: its job, its header, and the user's own code."""

from collections.abc import Mapping

from stoker.clusters.kubernetes.metadata import Manifest, metadata_of
from stoker.clusters.run_inputs import CODE_FOLDER, HEADER_FILE, JOB_FILE, input_files
from stoker.errors import JobError, Problem
from stoker.job.own_code import AnyJob
from stoker.tracking.run import RunHeader

PART_BYTES = 900_000
"""Code in one ConfigMap, whose limit is one MiB with everything else in it."""
MAX_PARTS = 8


def config_map_manifests(job: AnyJob, header: RunHeader, namespace: str, code: Mapping[str, bytes]) -> list[Manifest]:
    """Return the ConfigMaps with the inputs of a run, as few as hold them; the first has the run's name.

    Args:
        job: the checked job.
        header: of the run.
        namespace: of the run.
        code: the user's own files, by path.

    Raises:
        JobError: the code is too large.

    """
    inputs = input_files(job, header)
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata_of(header, namespace, _suffix(number)),
            "data": (inputs if number == 0 else {}) | {key: code[path].decode("utf-8") for key, path in part.items()},
        }
        for number, part in enumerate(_parts(code))
    ]


def config_map_volume(run: str, code: Mapping[str, bytes]) -> Manifest:
    """Return the volume that shows a run's ConfigMaps as the original files."""
    sources = []
    for number, part in enumerate(_parts(code)):
        items = [{"key": name, "path": name} for name in (JOB_FILE, HEADER_FILE)] if number == 0 else []
        items += [{"key": key, "path": f"{CODE_FOLDER}/{path}"} for key, path in part.items()]
        sources.append({"configMap": {"name": f"{run}{_suffix(number)}", "items": items}})
    return {"name": "inputs", "projected": {"sources": sources}}


def _parts(code: Mapping[str, bytes]) -> list[dict[str, str]]:
    """Distribute files over ConfigMaps; return paths by key, since keys cannot contain slashes."""
    parts: list[dict[str, str]] = [{}]
    free = PART_BYTES
    for number, (path, content) in enumerate(code.items()):
        if len(content) > PART_BYTES:
            raise _too_large(f"{path} has {len(content) / 1e6:.1f} MB; the limit is {PART_BYTES / 1e6:.1f} MB a file")
        if len(content) > free:
            parts.append({})
            free = PART_BYTES
        parts[-1][f"code-{number:04d}"] = path
        free -= len(content)
    if len(parts) > MAX_PARTS:
        size = sum(map(len, code.values()))
        limit = MAX_PARTS * PART_BYTES
        raise _too_large(f"holds {size / 1e6:.1f} MB of code; the limit is {limit / 1e6:.1f} MB")
    return parts


def _suffix(number: int) -> str:
    return f"-{number}" if number else ""


def _too_large(what: str) -> JobError:
    return JobError([Problem("environment.code", f"{what}; put the rest into an image (environment.image)")])
