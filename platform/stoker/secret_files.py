"""Environment variables from mounted secret files, which do not show in the description of a pod.

python -m stoker.secret_files COMMAND...     runs a command with them in its environment
"""

import os
import sys
from pathlib import Path

FOLDER_VARIABLE = "STOKER_SECRETS"
"""Environment variable with the folder of the files; each file is named like the variable that it sets."""


def load_secret_files() -> None:
    """Set an environment variable for each file, in this process and in those that it starts."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return
    for file in Path(folder).iterdir():
        if file.is_file():  # Kubernetes adds hidden folders such as ..data to a mounted secret
            os.environ[file.name] = file.read_text(encoding="utf-8").rstrip("\n")


if __name__ == "__main__":
    load_secret_files()
    command = [os.path.expandvars(argument) for argument in sys.argv[1:]]
    os.execvp(command[0], command)  # noqa: S606 - the command comes from the caller
