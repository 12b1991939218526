"""What Ray Train writes to a run's storage is what our own client finds there."""

import pytest
from pyarrow.fs import LocalFileSystem

from stoker.execution.ray_train.ray_storage import ray_storage
from stoker.storage import open_storage


@pytest.mark.parametrize("endpoint", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_a_bucket_is_opened_with_the_credentials_of_our_client(client, s3_server, monkeypatch, endpoint):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_DEFAULT_REGION": "us-east-1",
        endpoint: s3_server,
    }.items():
        monkeypatch.setenv(name, value)
    client.create_bucket(Bucket="own-code")
    path, files = ray_storage("s3://own-code/runs/a-1")
    for name in (*("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), endpoint):
        monkeypatch.delenv(name)  # as in Ray's own processes
    files.create_dir(f"{path}/ray_train/checkpoint_1")
    with files.open_output_stream(f"{path}/ray_train/checkpoint_1/state.pt") as file:
        file.write(b"state")
    stored = client.get_object(Bucket="own-code", Key="runs/a-1/ray_train/checkpoint_1/state.pt")
    assert stored["Body"].read() == b"state"


def test_a_folder_needs_no_file_system(tmp_path):
    path, files = ray_storage(str(tmp_path))
    assert (path, files) == (str(tmp_path), None)
    with LocalFileSystem().open_output_stream(f"{path}/file") as file:
        file.write(b"state")
    assert open_storage(str(tmp_path)).keys("") == ["file"]
