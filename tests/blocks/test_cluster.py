# SPDX-License-Identifier: Apache-2.0
"""Dask's workers make the same files."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import pytest

from medwsss.__main__ import main
from medwsss.blocks import cluster
from tests.blocks.studies import volume

distributed = pytest.importorskip("distributed", reason="pip install 'medwsss[dask]'")

HOW = ["--core", "8", "--steps", "3"]


@pytest.fixture(scope="module")
def address():
    """Of a scheduler whose worker is a thread of this process."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as own:
        yield own.scheduler_address


def test_a_scheduler_by_its_address(tmp_path, address):
    datalist = str(volume(tmp_path))
    assert main(["blocks", "labels", datalist, "--output", str(tmp_path / "out"), *HOW, "--scheduler", address]) == 0
    assert main(["blocks", "labels", datalist, "--output", str(tmp_path / "once"), *HOW]) == 0
    for name in ("a_labels.nii.gz", "a.zarr/c/0/1/1/1"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()


def _dies(job):
    raise distributed.KilledWorker("block", SimpleNamespace(address="tcp://gone"), 3)


def _fails(job):
    raise ValueError(f"expected {job}")


def test_what_goes_wrong_is_raised_here(address):
    with distributed.Client(address) as client:
        with pytest.raises(BrokenProcessPool):
            list(cluster.dask_map(_dies, [1, 2], client))
        with pytest.raises(ValueError, match="expected 1"):
            list(cluster.dask_map(_fails, [1], client))


def test_no_dask(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "has_distributed", False)
    with pytest.raises(ImportError, match="pip install"):
        with cluster.connected("local", 1):
            pass
