# SPDX-License-Identifier: Apache-2.0
"""What blocks make in a store of objects is what they make in a folder: a server of S3's protocol, in this process."""

from __future__ import annotations

import logging

import pytest

from medwsss import files
from medwsss.__main__ import main
from medwsss.blocks import jobs, read_plan
from medwsss.blocks.sources import open_source
from medwsss.files import location
from tests.blocks.studies import scene, volume
from tests.rasters.scenes import rasterio

pytest.importorskip("upath", reason="pip install 'medwsss[remote]'")
pytest.importorskip("s3fs", reason="pip install s3fs")
server = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
config = pytest.importorskip("fsspec.config")


@pytest.fixture(scope="module")
def store():
    """A bucket's URL."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    url = "http://{}:{}".format(*running.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(config.conf, "s3", {"endpoint_url": url, "key": "nobody", "secret": "nobody"})
        location("s3://blocks").fs.mkdir("blocks")
        yield "s3://blocks"
    running.stop()


def line(datalist, output, *more, core=8):
    words = ["blocks", "labels", str(datalist), "--core", str(core), "--steps", "3", "--output", str(output)]
    return main([*words, *more])


def tree(folder):
    """Names and contents of what does not tell where it is."""
    found = {str(path)[len(str(folder)) :]: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith(("/plan.json", "/done"))}


@pytest.mark.parametrize("study", [volume, scene])
def test_same_files(tmp_path, store, study):
    datalist, there, here = study(tmp_path), f"{store}/{study.__name__}", tmp_path / "out"
    assert line(datalist, there, "--workers", "2", core=24 if study is scene else 8) == 0
    assert line(datalist, here, core=24 if study is scene else 8) == 0
    assert len(tree(here)) > 8 and tree(location(there)) == tree(here)
    if study is scene:
        (here / "copy.tif").write_bytes(location(f"{there}/a_labels.tif").read_bytes())
        with rasterio.open(here / "copy.tif") as copy, rasterio.open(tmp_path / "a.tif") as image:
            assert (copy.transform, copy.crs, copy.shape) == (image.transform, image.crs, image.shape)


def test_goes_on(tmp_path, store, capsys, caplog):
    """From what is marked; a chunk that is not what was written is done anew, and another plan is refused."""
    datalist, url = volume(tmp_path), f"{store}/again"
    assert line(datalist, url, "--num-parts", "2", "--part-id", "1") == 1
    assert "with --plan-only first" in capsys.readouterr().err
    assert line(datalist, url, "--plan-only") == 0
    assert line(datalist, url, "--num-parts", "2", "--part-id", "1") == 0
    assert "a: 4 of 8 blocks" in capsys.readouterr().out
    folder = location(url)
    marks = {path.name: path.read_bytes() for path in (folder / "done" / "a").iterdir()}
    assert sorted(marks) == [f"{n}.json" for n in (1, 3, 5, 7)]
    (folder / "a.zarr" / "c" / "0" / "0" / "0" / "1").write_bytes(b"cut short")
    assert line(datalist, url) == 0
    assert "Block 1 of a is damaged" in caplog.text
    assert line(datalist, tmp_path / "out") == 0
    assert tree(folder) == tree(tmp_path / "out")
    assert jobs.pending(folder, read_plan(folder)) == []
    assert line(datalist, url, "--lam", "3") == 1
    assert "expected lam 6.0" in capsys.readouterr().err
    assert main(["blocks", "status", url]) == 0
    prior = open_source(f"{url}/a.zarr")
    assert (prior.channels, prior.shape) == (3, (16, 15, 14))


def test_what_is_not_there(tmp_path, store, capsys, monkeypatch):
    assert line(volume(tmp_path), "s3://nobodys/run") == 1
    assert "expected to write s3://nobodys/run" in capsys.readouterr().err
    with pytest.raises(ValueError, match="expected a URL that fsspec opens, got gopher://a/b"):
        location("gopher://a/b")
    with pytest.raises(ValueError, match="outlives this process, got memory://a/b"):
        location("memory://a/b")
    assert location(f"file://{tmp_path}") == tmp_path
    monkeypatch.setattr(files, "has_upath", False)
    with pytest.raises(ImportError, match="pip install 'medwsss\\[remote\\]'"):
        location("s3://blocks/run")
