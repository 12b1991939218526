"""Clusters are added to the config file and removed from it; the rest of the file does not change."""

import pytest
import yaml

from stoker.config_file import add_cluster, config_path, remove_cluster, with_cluster, with_default, without_cluster
from stoker.errors import JobError

FILE = """# mine
home: /data/stoker   # big disk

clusters:
  # the old one
  lab: {namespace: lab}
  prod:
    kube_context: prod
    namespace: stoker
# the end
tracking_uri: http://mlflow:5000
"""


def test_a_cluster_is_added_beside_the_others_and_comments_are_kept():
    text = with_cluster(FILE, "new", {"kube_context": "", "namespace": "team"})
    expected = yaml.safe_load(FILE)
    expected["clusters"]["new"] = {"namespace": "team"}
    assert yaml.safe_load(text) == expected
    for comment in ("# mine", "# big disk", "# the old one", "# the end"):
        assert comment in text


@pytest.mark.parametrize("before", ["", "home: /x", "home: /x\n"])
def test_the_first_cluster_adds_the_key(before):
    text = with_cluster(before, "prod", {"kube_context": "a b", "namespace": "stoker"})
    assert yaml.safe_load(text)["clusters"] == {"prod": {"kube_context": "a b", "namespace": "stoker"}}
    assert yaml.safe_load(text).get("home") == (yaml.safe_load(before) or {}).get("home")


def test_a_cluster_is_removed_and_the_rest_is_kept():
    for name in ("lab", "prod"):
        text = without_cluster(FILE, name)
        expected = yaml.safe_load(FILE)
        del expected["clusters"][name]
        assert yaml.safe_load(text) == expected
        assert "# the end" in text


def test_the_key_goes_with_the_last_cluster_and_the_default_with_its_cluster():
    text = with_default(with_cluster("home: /x\n", "prod", {"namespace": "a"}), "prod")
    assert yaml.safe_load(text)["cluster"] == "prod"
    assert yaml.safe_load(with_default(text, "other"))["cluster"] == "other"
    assert yaml.safe_load(without_cluster(text, "prod")) == {"home": "/x"}


@pytest.mark.parametrize("name", ["no", "1", "prod"])
@pytest.mark.parametrize("before", ["", "---\nhome: /x\n", "home: /x\n"])
def test_a_default_that_looks_like_another_type_stays_text(name, before):
    assert yaml.safe_load(with_default(before, name)) == {**(yaml.safe_load(before) or {}), "cluster": name}


def test_clusters_written_in_one_line_are_not_edited():
    with pytest.raises(JobError, match="is written in one line"):
        with_cluster("clusters: {lab: {namespace: lab}}\n", "new", {})


def test_only_the_owner_may_read_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = add_cluster("prod", {"namespace": "stoker"}, is_default=True)
    assert path == config_path({"XDG_CONFIG_HOME": str(tmp_path)})
    assert path.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(path.read_text()) == {"cluster": "prod", "clusters": {"prod": {"namespace": "stoker"}}}
    remove_cluster("prod")
    assert not path.read_text()
