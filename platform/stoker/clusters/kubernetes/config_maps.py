"""What a run is, as files of ConfigMaps: its job, its header, and the user's own code."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from stoker.clusters.kubernetes.metadata import Manifest, metadata_of
from stoker.errors import JobError, Problem
from stoker.job.job import Job
from stoker.jobfile.loading import dump_job
from stoker.tracking.run import RunHeader

PART_BYTES = 900_000
"""A ConfigMap holds a mebibyte, its own words included."""
PARTS = 8
"""More than so many belong into an image."""


def inputs_manifests(job: Job, header: RunHeader, namespace: str, code: Mapping[str, bytes]) -> list[Manifest]:
    """Describe the ConfigMaps of a run, as few as hold it; the first has the run's name.

    Args:
        job: the checked job.
        header: who the run is.
        namespace: where it goes.
        code: the user's own files, by path.

    Raises:
        JobError: the code is larger than that.

    """
    known = {"job.yaml": dump_job(job), "run.json": json.dumps(asdict(header))}
    parts = _parts(code)
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata_of(header, namespace, _suffix(number)),
            "data": (known if number == 0 else {}) | {key: code[path].decode("utf-8") for key, path in part.items()},
        }
        for number, part in enumerate(parts)
    ]


def inputs_volume(run: str, code: Mapping[str, bytes]) -> Manifest:
    """Describe the volume that holds a run's ConfigMaps as the files that they were."""
    sources = []
    for number, part in enumerate(_parts(code)):
        items = [{"key": name, "path": name} for name in ("job.yaml", "run.json")] if number == 0 else []
        items += [{"key": key, "path": f"code/{path}"} for key, path in part.items()]
        sources.append({"configMap": {"name": f"{run}{_suffix(number)}", "items": items}})
    return {"name": "inputs", "projected": {"sources": sources}}


def _parts(code: Mapping[str, bytes]) -> list[dict[str, str]]:
    """Spread files over ConfigMaps, whose keys know no slashes: paths by key."""
    parts: list[dict[str, str]] = [{}]
    room = PART_BYTES
    for number, (path, content) in enumerate(code.items()):
        if len(content) > PART_BYTES:
            raise _too_large(f"{path} has {len(content) / 1e6:.1f} MB, {PART_BYTES / 1e6:.1f} MB a file fit")
        if len(content) > room:
            parts.append({})
            room = PART_BYTES
        parts[-1][f"code-{number:04d}"] = path
        room -= len(content)
    if len(parts) > PARTS:
        size = sum(map(len, code.values()))
        raise _too_large(f"holds {size / 1e6:.1f} MB of code, {PARTS * PART_BYTES / 1e6:.1f} MB fit")
    return parts


def _suffix(number: int) -> str:
    return f"-{number}" if number else ""


def _too_large(what: str) -> JobError:
    return JobError([Problem("environment.code", f"{what}; put the rest into an image (environment.image)")])
