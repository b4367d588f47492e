# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil

import numpy as np
import pytest
from scipy.io import savemat

from data_prep.converters.voc import CLASSES, list_cases
from data_prep.formats.polylines import Polyline, draw, shorten
from medwsss.keys import LABEL, UNLABELED, VOID
from tests.data_prep.pictures import convert, photograph, pixels, refusal, save

RATIOS = (0, 0.3, 0.5, 0.8, 1)
PERSON = 15  # its number in the VOC development kit
STROKES = [("background", [(1, 1), (1, 4)]), ("person", [(6, 1), (6, 4)])]


def write_xml(path, polylines, width=8, height=6):
    """ScribbleSup's layout."""
    body = "".join(
        f"<polygon><tag>{tag}</tag>" + "".join(f"<point><X>{x}</X><Y>{y}</Y></point>" for x, y in points) + "</polygon>"
        for tag, points in polylines
    )
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{size}{body}</annotation>")


@pytest.fixture
def source(tmp_path):
    """Two images of VOC's train list, one of its val list, two more of SBD, which has VOC's val image, too."""
    root = tmp_path / "data"
    voc, sbd = root / "VOCdevkit/VOC2012", root / "benchmark_RELEASE/dataset"
    lists = {
        voc / "ImageSets/Segmentation/train.txt": "2007_1 2007_2",
        voc / "ImageSets/Segmentation/val.txt": "2007_3",
    }
    lists |= {sbd / "train.txt": "2007_1 2008_4", sbd / "val.txt": "2007_3 2008_5", sbd / "cls/.keep": ""}
    for path, names in lists.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(names.replace(" ", "\n") + "\n")
    mask = np.zeros((6, 8), np.uint8)
    mask[:, 4:] = PERSON
    for name in ("2007_1", "2007_2", "2007_3", "2008_4", "2008_5"):
        photograph(voc / f"JPEGImages/{name}.jpg")
        if name.startswith("2007"):
            save(voc / f"SegmentationClass/{name}.png", np.where(np.arange(8) == 4, 255, mask), "P")
        savemat(sbd / f"cls/{name}.mat", {"GTcls": {"Segmentation": mask, "Boundaries": 0}})
        write_xml(root / f"scribbles/{name}.xml", STROKES)
    return root


@pytest.fixture
def options(source):
    return ("--sbd", source / "benchmark_RELEASE", "--scribbles", source / "scribbles", "--partial")


def test_lists_and_masks(source):
    cases = list_cases(source / "VOCdevkit/VOC2012", source / "benchmark_RELEASE", None)
    assert {case.name: (case.section, case.files[LABEL].suffix) for case in cases} == {
        "2007_1": ("training", ".png"),  # where both have a mask, VOC's
        "2007_2": ("training", ".png"),
        "2007_3": ("validation", ".png"),  # never training, though SBD has it
        "2008_4": ("training", ".mat"),
        "2008_5": ("training", ".mat"),
    }


def test_study(source, options, tmp_path, capsys):
    made = convert("voc", source, tmp_path / "study", *options)
    assert (made.names("training"), made.names("validation")) == (["2007_1", "2007_2", "2008_4", "2008_5"], ["2007_3"])
    assert list(made.content["labels"].values()) == list(CLASSES) and made.content["num_classes"] == 21
    image = made.folder / made["training"]["2008_4"]["image"]
    assert image.read_bytes() == (source / "VOCdevkit/VOC2012/JPEGImages/2008_4.jpg").read_bytes()

    # in masks, VOC's 255 is void; SBD has no void
    row = [0, 0, 0, 0, VOID, PERSON, PERSON, PERSON]
    assert made.pixels("training", "2007_1", "label")[3].tolist() == row
    assert made.pixels("validation", "2007_3", "label")[3].tolist() == row
    assert made.pixels("training", "2008_4", "label")[3].tolist() == [0, 0, 0, 0, *[PERSON] * 4]

    # three pixels wide, and a round end of one pixel more: 3 x 6 pixels each
    scribble = made.pixels("training", "2008_4", "scribble")
    assert scribble[2].tolist() == [0, 0, 0, UNLABELED, UNLABELED, PERSON, PERSON, PERSON]
    assert np.bincount(scribble.ravel(), minlength=256)[[0, PERSON, UNLABELED]].tolist() == [18, 18, 12]
    assert "scribble" not in made["validation"]["2007_3"]
    assert "4 training" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["xml", "png"])
def test_length_ratios_are_nested(source, options, tmp_path, kind):
    if kind == "png":
        for path in (source / "scribbles").glob("*.xml"):
            drawn = np.full((6, 8), 255)
            drawn[0:6, 0], drawn[0:6, 6] = 0, PERSON
            save(path.with_suffix(".png"), drawn, "P")
            path.unlink()
    before, counts = np.full((6, 8), UNLABELED), []
    for ratio in RATIOS:
        made = convert("voc", source, tmp_path / str(ratio), *options, "--length-ratio", ratio)
        drawn = made.pixels("training", "2007_1", "scribble")
        assert (drawn == before)[before < VOID].all()
        counts.append((drawn < VOID).sum())
        assert set(np.unique(drawn)) == {0, PERSON, UNLABELED}
        before = drawn
    assert counts == sorted(counts) and counts[0] < counts[2] < counts[4]


def test_polyline_by_hand():
    corner = np.array([[2, 2], [12, 2], [12, 20.0]])  # 10 + 18 long; its middle is 4 below the corner
    assert shorten(corner, 0).tolist() == [[12, 6], [12, 6]]
    assert shorten(corner, 0.5).tolist() == [[9, 2], [12, 2], [12, 13]]  # 7 to both sides
    assert shorten(corner, 1).tolist() == corner.tolist()
    click = draw([Polyline("a", corner)], {"a": 3}, (30, 30), 3, 0)
    assert np.argwhere(click == 3).tolist() == [[x, y] for x in (11, 12, 13) for y in (5, 6, 7)]


def test_polylines_against_distances():
    """Every pixel against every segment, and nestedness also where strokes of several classes cross."""
    rng = np.random.default_rng(0)
    lines = [Polyline(tag, rng.uniform(-4, 34, (n, 2))) for tag, n in zip("abca", (1, 2, 5, 9))]
    classes = {"a": 0, "b": 1, "c": 7}
    expected = np.full((30, 24), UNLABELED)
    for x, y in np.ndindex(30, 24):
        for tag, points in lines:
            for start, end in zip(points[:-1], points[1:]) if len(points) > 1 else [(points[0], points[0])]:
                t = np.linspace(0, 1, 2001)[:, None]
                if np.hypot(*((1 - t) * start + t * end - (x, y)).T).min() <= 1.5:
                    expected[x, y] = classes[tag]
    full = draw(lines, classes, (30, 24), 3)
    assert (full != expected).mean() < 0.003  # samples of a segment are a little further away than it is
    for ratio in RATIOS:
        part = draw(lines, classes, (30, 24), 3, ratio)
        assert (part == full)[part < VOID].all() and (ratio == 1) == ((part < VOID).sum() == (full < VOID).sum())


def test_names_of_classes(source, options, tmp_path):
    """The development kit's numbers, and the short names of one of ScribbleSup's copies."""
    numbers = {
        "aeroplane": 1,
        "plane": 1,
        "bicycle": 2,
        "bike": 2,
        "bird": 3,
        "bottle": 5,
        "chair": 9,
        "diningtable": 11,
    }
    numbers |= {
        "table": 11,
        "motorbike": 14,
        "pottedplant": 16,
        "plant": 16,
        "sofa": 18,
        "tvmonitor": 20,
        "monitor": 20,
    }
    for i, (tag, number) in enumerate(numbers.items()):
        write_xml(source / "scribbles/2007_1.xml", [(tag, [(3, 3)])])
        made = convert("voc", source, tmp_path / str(i), *options)
        assert set(np.unique(made.pixels("training", "2007_1", "scribble"))) == {number, UNLABELED}


def test_incomplete_data_set_is_refused(source, options, tmp_path, capsys):
    (source / "VOCdevkit/VOC2012/JPEGImages/2008_5.jpg").unlink()
    message = refusal(capsys, "voc", source, tmp_path / "study", *options[:-1])
    assert "10582" in message and "got 3" in message and "2008_5.jpg" in message and "--partial" in message


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda d: write_xml(d / "scribbles/2007_1.xml", [("unicorn", [(1, 1)])]), "'unicorn'"),
        (lambda d: write_xml(d / "scribbles/2007_1.xml", STROKES, width=6, height=8), "axes in another order"),
        (lambda d: write_xml(d / "scribbles/2007_1.xml", [("person", [])]), "at least one point"),
        (lambda d: (d / "scribbles/2007_1.xml").write_text("<annotation>"), "polylines in XML"),
        (lambda d: savemat(d / "benchmark_RELEASE/dataset/cls/2008_4.mat", {"GTinst": 0}), "GTcls"),
        (lambda d: save(d / "VOCdevkit/VOC2012/SegmentationClass/2007_2.png", np.full((6, 8), 21), "P"), "got 21"),
        (lambda d: (d / "VOCdevkit/VOC2012/JPEGImages/2007_2.jpg").write_bytes(b"no picture"), "2007_2.jpg"),
        (lambda d: shutil.rmtree(d / "VOCdevkit/VOC2012/ImageSets"), "VOCdevkit/VOC2012"),
        (lambda d: (d / "benchmark_RELEASE/dataset/val.txt").unlink(), "val.txt"),
    ],
)
def test_bad_input(source, options, tmp_path, capsys, damage, reason):
    damage(source)
    assert reason in refusal(capsys, "voc", source, tmp_path / "study", *options)


def test_real_scribbles(shared_data, source, tmp_path):
    """The two real images of ScribbleSup; numbers from their README."""
    real, voc = shared_data / "odd_files/voc_scribblesup", source / "VOCdevkit/VOC2012"
    names = ["2007_000032", "2007_000033"]
    for name in names:
        shutil.copy(real / f"images/{name}.jpg", voc / "JPEGImages")
        shutil.copy(real / f"labels/{name}.png", voc / "SegmentationClass")
        shutil.copy(real / f"scribbles/{name}.png", source / "scribbles")
    (voc / "ImageSets/Segmentation/train.txt").write_text("\n".join(names))
    made = convert("voc", source, tmp_path / "study", "--scribbles", source / "scribbles", "--partial")
    assert made.names("training") == names
    shares = []
    for name in names:
        scribble, label = (made.pixels("training", name, key) for key in ("scribble", "label"))
        assert np.array_equal(scribble, pixels(real / f"scribbles/{name}.png"))
        assert np.array_equal(label == VOID, pixels(real / f"labels/{name}.png") == 255)
        shares.append(round(100 * (scribble < VOID).mean(), 1))
    assert shares == [3.4, 2.9]
