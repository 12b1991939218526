"""Why Ray could not install what a run needs before its driver begins, out of a message that is mostly a traceback."""

import re

SETUP = "runtime_env setup failed"
"""Begins what Ray says of it."""
PIP = "ERROR: "
"""Begins pip's own lines in there."""
BROKEN = re.compile(r"after connection broken by .*?([^:'\"\]]+)['\")]+: /")
"""pip's complaint of an index that does not answer; it then says that no such package exists, which is not so."""


def setup_failure(message: str) -> str:
    """Take what it comes down to out of Ray's message, which begins with `SETUP`."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    errors = [line.removeprefix(PIP) for line in lines if line.startswith(PIP)]
    if broken := BROKEN.search(message):
        why = broken[1].strip()
        return f"its nodes do not reach the index of Python packages ({why}); name an image that has the packages"
    return (errors or lines)[-1]
