"""The reason in Ray's message about a runtime environment that could not be set up; the rest of it is a traceback."""

import re

PREFIX = "runtime_env setup failed"
"""Start of Ray's message."""
PIP_ERROR = "ERROR: "
"""Start of pip's own lines in it."""
INDEX_UNREACHABLE = re.compile(r"after connection broken by .*?([^:'\"\]]+)['\")]+: /")
"""pip's complaint about an index that does not answer; its later claim that no such package exists is wrong then."""


def setup_failure(message: str) -> str:
    """Return the reason in a message of Ray that begins with `PREFIX`."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [line.removeprefix(PIP_ERROR) for line in lines if line.startswith(PIP_ERROR)]
    if broken := INDEX_UNREACHABLE.search(message):
        why = broken[1].strip()
        return f"its nodes cannot reach the Python package index ({why}); name an image that has the packages"
    return (errors or lines)[-1]
