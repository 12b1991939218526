"""Start MLflow's server: it reads the address of its users' database, a secret, in a file and nowhere else."""

import configparser
import os
import sys
from pathlib import Path

FILE = Path(os.environ["MLFLOW_AUTH_CONFIG_PATH"])

database = os.environ["DATABASE"]
settings = configparser.ConfigParser()
settings["mlflow"] = {
    "default_permission": "READ",
    "database_uri": os.environ.get("AUTH_DATABASE", database).replace("%", "%%"),  # a percent sign begins a variable
    "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    "auth_cache_ttl_seconds": "60",
}
os.umask(0o077)
with FILE.open("w", encoding="utf-8") as file:
    settings.write(file)
os.environ["MLFLOW_BACKEND_STORE_URI"] = database  # not as an argument, which every process list shows
os.execvp("mlflow", ["mlflow", "server", *sys.argv[1:]])  # noqa: S606, S607 - the image has one
