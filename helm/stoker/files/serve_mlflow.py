"""Starts MLflow's server with an auth configuration file, the only place where it reads the user database's address."""

import configparser
import os
import sys
from pathlib import Path

FILE = Path(os.environ["MLFLOW_AUTH_CONFIG_PATH"])

database = os.environ["DATABASE"]
settings = configparser.ConfigParser()
settings["mlflow"] = {
    "default_permission": "READ",
    "database_uri": os.environ.get("AUTH_DATABASE", database).replace(
        "%", "%%"
    ),  # escape: % starts an interpolation in configparser
    "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    "auth_cache_ttl_seconds": "60",
}
os.umask(0o077)
with FILE.open("w", encoding="utf-8") as file:
    settings.write(file)
os.environ["MLFLOW_BACKEND_STORE_URI"] = database  # not as an argument, which the process list would show
os.execvp("mlflow", ["mlflow", "server", *sys.argv[1:]])  # noqa: S606, S607 - found in the image's PATH
