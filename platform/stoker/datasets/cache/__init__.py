"""One cache of everything downloaded: content by checksum, and each source laid out as a folder of hard links to it.

blobs/ab/abcdef...           content, named by its SHA-256, read-only
views/KEY/tree/...           one listing of a source in its own layout; view.json, written last, makes it whole
views/KEY/lease              locked by every process that uses the view; its time is that of the last use
index/SOURCE.jsonl           which content each file of a source had, by name and version
partial/                     downloads under way, and what is left of those that were cut
gate                         shared while links are made, exclusive while unused content is deleted
"""

from stoker.datasets.cache.fetching import Cache, local_path, open_cache

__all__ = ["Cache", "local_path", "open_cache"]
