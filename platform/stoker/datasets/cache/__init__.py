"""The download cache: content by checksum, and for each source a folder of hard links to it.

blobs/ab/abcdef...           content, named by its SHA-256, read-only
views/KEY/tree/...           one listing of a source in its own layout; view.json, written last, marks it complete
views/KEY/lease              locked by every process that uses the view; its modification time is the last use
index/SOURCE.jsonl           checksum of each file of a source, by name and version
partial/                     downloads in progress, and interrupted ones
gate                         lock: shared while links are created, exclusive while unused content is deleted
"""

from stoker.datasets.cache.fetching import Cache, local_path, open_cache

__all__ = ["Cache", "local_path", "open_cache"]
