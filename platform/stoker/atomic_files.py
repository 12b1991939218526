"""Files that are replaced as a whole: a reader, or a machine that has lost power, sees the old content or the new."""

import os
from pathlib import Path


def replace_file(path: Path, content: str | bytes, sync: bool = True) -> None:
    """Write a temporary file beside the target, sync it to disk and rename it.

    Args:
        path: of the file; its folder exists.
        content: text is written as UTF-8.
        sync: False for a file that is rewritten many times a second and may be lost with the machine.

    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
