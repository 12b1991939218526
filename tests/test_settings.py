import pytest

from stoker.errors import JobError, NotFound
from stoker.settings import ClusterSettings, RayClusterSettings, Settings, load_settings, without_password


def config(tmp_path, text):
    folder = tmp_path / "stoker"
    folder.mkdir()
    (folder / "config.yaml").write_text(text)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_a_flag_overrides_the_environment_which_overrides_the_file(tmp_path):
    environment = config(tmp_path, "home: /from/file\ntracking_uri: http://file:5000\n")
    assert str(load_settings(environment=environment).home) == "/from/file"
    environment |= {"STOKER_HOME": "/from/environment", "MLFLOW_TRACKING_URI": "http://environment:5000"}
    settings = load_settings(environment=environment)
    assert (str(settings.home), settings.tracking_uri) == ("/from/environment", "http://environment:5000")
    settings = load_settings("/from/flag", "http://flag:5000", environment=environment)
    assert (str(settings.home), settings.tracking_uri) == ("/from/flag", "http://flag:5000")


def test_the_default_store_has_an_absolute_path_in_the_home(tmp_path):
    settings = load_settings(str(tmp_path), environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert settings.embedded


def test_an_empty_storage_in_the_environment_overrides_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = config(tmp_path, "storage: s3://bucket/runs\n")
    assert load_settings(environment=environment).storage == "s3://bucket/runs"
    assert load_settings(environment={**environment, "STOKER_STORAGE": "/mnt"}).storage == "/mnt"
    assert load_settings(environment={**environment, "STOKER_STORAGE": ""}).storage == ""
    assert load_settings(storage="checkpoints", environment=environment).storage == f"{tmp_path}/checkpoints"
    assert load_settings(storage="file:///mnt/x", environment=environment).storage == "file:///mnt/x"


def test_a_run_keeps_its_own_addresses_and_takes_the_password_from_the_settings(tmp_path):
    current = Settings(tmp_path, "http://me:secret@host:5000", "s3://new")
    expected = Settings(tmp_path, "http://me:secret@host:5000", "s3://old")
    assert current.of_run("http://host:5000", "s3://old") == expected
    assert current.of_run("http://other:5000", "") == Settings(tmp_path, "http://other:5000", "")
    assert current.of_run("", "").tracking_uri == current.tracking_uri


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hom: /x\n", "unknown key in .*config.yaml; the keys are home, tracking_uri, storage"),
        ("- a\n", "expected lines of 'key: text'"),
        ("home: [", "is not YAML"),
    ],
)
def test_a_wrong_config_file_is_reported(tmp_path, text, message):
    with pytest.raises(JobError, match=message):
        load_settings(environment=config(tmp_path, text))


def test_passwords_are_removed_from_addresses_and_nothing_else_changes():
    assert without_password("https://me:secret@host:5000/mlflow/") == "https://host:5000/mlflow"
    assert without_password("sqlite:////home/me/mlflow.db") == "sqlite:////home/me/mlflow.db"
    assert without_password("sqlite:///mlflow.db") == "sqlite:///mlflow.db"


def test_a_store_in_a_file_does_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    for uri, expected in (
        ("sqlite:///mlflow.db", f"sqlite:///{tmp_path}/mlflow.db"),
        ("sqlite:////a/mlflow.db", "sqlite:////a/mlflow.db"),
        ("mlruns", f"{tmp_path}/mlruns"),
        ("http://host:5000", "http://host:5000"),
        ("postgresql+psycopg2://me@host/mlflow", "postgresql+psycopg2://me@host/mlflow"),
    ):
        assert load_settings(str(tmp_path), uri, environment=environment).tracking_uri == expected


def test_the_config_file_names_clusters_and_a_default(tmp_path):
    text = "cluster: prod\nclusters: {prod: {kube_context: gke-1, namespace: team}, lab: {}}\n"
    environment = config(tmp_path, text)
    settings = load_settings(environment=environment)
    assert settings.cluster == "prod"
    assert settings.cluster_named("prod") == ClusterSettings("prod", "gke-1", "team")
    assert settings.cluster_named("lab").namespace == "stoker"
    assert load_settings(environment=environment, cluster="local").cluster == "local"
    with pytest.raises(NotFound, match=r"no cluster 'dev'.*there are local, prod, lab"):
        settings.cluster_named("dev")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clusters: prod\n", "expected names of clusters"),
        ("clusters: {local: {}}\n", "'local' is the name of this machine"),
        ("clusters: {prod: {context: a}}\n", "unknown key 'context' below 'prod'"),
        ("clusters: {prod: {namespace: 1}}\n", "expected lines of 'key: text' below 'prod'"),
        (
            "clusters: {lab: {ray_address: 'http://h:1', namespace: a}}\n",
            "either a Kubernetes namespace .* below 'lab'",
        ),
        ("clusters: {lab: {namespace: a, storage: /mnt}}\n", r"either .*\(namespace\) or a standing Ray \(storage\)"),
        ("clusters: {lab: {ray_address: 'http://h:1'}}\n", "a standing Ray needs storage below 'lab'"),
        ("clusters: {lab: {storage: /mnt}}\n", "a standing Ray needs ray_address below 'lab'"),
        ("clusters: {lab: {ray_address: 'h:1', storage: /mnt}}\n", "'h:1' is not like https://head:8265"),
        ("clusters: {lab: {ray_address: 'ray://h:1', storage: /mnt}}\n", "is not like https://head:8265"),
        ("clusters: {lab: {ray_address: 'http://a:b@h:1', storage: /mnt}}\n", "'http://h:1' is not like https"),
        ("clusters: {lab: {ray_address: 'http://h:x', storage: /mnt}}\n", "is not like https://head:8265"),
        ("clusters: {lab: {ray_address: 'http://h:1', storage: runs}}\n", "storage 'runs' is not s3://"),
        ("clusters: {lab: {ray_address: 'http://h:1', storage: /mnt, insecure: maybe}}\n", "insecure 'maybe' is not"),
    ],
)
def test_a_wrong_cluster_is_reported(tmp_path, text, message):
    with pytest.raises(JobError, match=message):
        load_settings(environment=config(tmp_path, text))


def test_a_cluster_may_be_a_running_ray_cluster(tmp_path):
    text = (
        "clusters: {lab: {ray_address: 'https://head:8265', storage: s3://runs/lab, tracking_uri: 'http://mlflow'}}\n"
    )
    settings = load_settings(environment=config(tmp_path, text))
    lab = RayClusterSettings("lab", "https://head:8265", "s3://runs/lab", "http://mlflow", "no")
    assert settings.cluster_named("lab") == lab


def test_the_cache_is_in_the_home_unless_it_is_named(tmp_path):
    environment = config(tmp_path, "home: /data/home\ncache_size: 100GiB\n")
    settings = load_settings(environment=environment)
    assert (str(settings.data_cache), settings.cache_bytes) == ("/data/home/cache/data", 100 << 30)
    settings = load_settings(environment={**environment, "STOKER_CACHE": "/scratch", "STOKER_CACHE_SIZE": "0.5TiB"})
    assert (str(settings.data_cache), settings.cache_bytes) == ("/scratch", 1 << 39)
    assert load_settings(environment={"XDG_CONFIG_HOME": "/nowhere"}).cache_bytes == 50 << 30


def test_a_size_of_the_cache_has_a_unit(tmp_path):
    with pytest.raises(JobError, match=r"cache_size: '50' is not a size \(examples: 500MiB, 50GiB, 2TiB\)"):
        load_settings(environment=config(tmp_path, "cache_size: '50'\n"))
