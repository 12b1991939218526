"""Starts MLflow's server with an auth configuration file, the only place where it reads the user database's address."""

import configparser
import os
import sys
from pathlib import Path

FILE = Path(os.environ["MLFLOW_AUTH_CONFIG_PATH"])

database = os.environ["DATABASE"]
users = os.environ.get("AUTH_DATABASE", database)
settings = configparser.ConfigParser()
settings["mlflow"] = {
    "default_permission": "EDIT",  # what users may do with the experiments and models of others; deleting is not in it
    "database_uri": users.replace("%", "%%"),  # escape: % starts an interpolation in configparser
    "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    "auth_cache_ttl_seconds": "60",
}
os.umask(0o077)
with FILE.open("w", encoding="utf-8") as file:
    settings.write(file)


def set_runs_password() -> None:
    """Make the user of runs and submitters, who is no administrator, or give them the password of their Secret."""
    from mlflow.exceptions import MlflowException
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(users)
    name, password = os.environ.pop("RUNS_USERNAME"), os.environ.pop("RUNS_PASSWORD")
    try:
        store.create_user(name, password, is_admin=False)
    except MlflowException:  # another replica has made them, or an earlier start
        store.update_user(name, password=password)


set_runs_password()
os.environ["MLFLOW_BACKEND_STORE_URI"] = database  # not as an argument, which the process list would show
os.execvp("mlflow", ["mlflow", "server", *sys.argv[1:]])  # noqa: S606, S607 - found in the image's PATH
