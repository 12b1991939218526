"""Storage of checkpoints and records: objects in a folder or bucket, and folders of objects committed atomically."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from stoker.errors import ClusterError
from stoker.storage.folder import FolderStorage
from stoker.storage.manifest import MANIFEST, Manifest, commit, committed, copy, read_file, read_manifest, remove
from stoker.storage.objects import Chunks, Digest, Storage
from stoker.storage.s3 import S3Storage

__all__ = [
    "MANIFEST",
    "Chunks",
    "Digest",
    "FolderStorage",
    "Manifest",
    "S3Storage",
    "Storage",
    "commit",
    "committed",
    "copy",
    "open_storage",
    "read_file",
    "read_manifest",
    "remove",
]


def open_storage(url: str) -> Storage:
    """Return the storage at `s3://bucket/prefix`, `file:///folder` or a path, without accessing it yet."""
    if "://" not in url:
        return FolderStorage(Path(url))
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return FolderStorage(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return S3Storage(parts.netloc, unquote(parts.path).strip("/"))
    raise ClusterError(f"storage '{url}': not a storage; write s3://BUCKET/PREFIX, file:///FOLDER or a path")
