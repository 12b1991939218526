"""Secrets that come as files, one a variable: unlike variables of a pod, no description of it shows them.

python -m stoker.secret_files COMMAND...     runs a command with them in its environment
"""

import os
import sys
from pathlib import Path

FOLDER = "STOKER_SECRETS"
"""Environment variable: the folder that holds them; each file's name is a variable's."""


def load_secret_files() -> None:
    """Put each file's content into the environment of this process and of those that it starts."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    for file in Path(folder).iterdir():
        if file.is_file():  # a volume has folders of its own in there
            os.environ[file.name] = file.read_text(encoding="utf-8").rstrip("\n")


if __name__ == "__main__":
    load_secret_files()
    command = [os.path.expandvars(argument) for argument in sys.argv[1:]]
    os.execvp(command[0], command)  # noqa: S606 - whoever starts this says what
