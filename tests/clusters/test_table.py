"""The table of clusters: a row for each kind that the config file may name."""

import pytest

from stoker.clusters.ray.cluster import RayCluster
from stoker.clusters.table import CLUSTERS, open_cluster
from stoker.errors import NotFound
from stoker.settings import CLUSTER_SECTIONS, RayClusterSettings, Settings


def test_every_kind_of_cluster_in_the_config_file_can_be_opened():
    assert set(CLUSTERS) == set(CLUSTER_SECTIONS)


def test_a_cluster_is_opened_by_its_name(tmp_path):
    lab = RayClusterSettings("lab", "https://head:8265", "s3://runs")
    settings = Settings(tmp_path, "", clusters={"lab": lab})
    assert isinstance(open_cluster(settings, "lab"), RayCluster)
    with pytest.raises(NotFound, match="no cluster 'dev'"):
        open_cluster(settings, "dev")
