# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.phantom import make_phantom_study
from tests.bundles.bundle import blank_pictures, train
from tests.bundles.photographs import train as train_on_photographs
from tests.bundles.photographs import write_study


@pytest.fixture
def without_pictures():
    """For tests of other things."""
    with blank_pictures():
        yield


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """Three training volumes and two validation volumes of 24 x 24 x 8 voxels."""
    folder = tmp_path_factory.mktemp("bundle") / "study"
    return make_phantom_study(folder, training=3, validation=2, shape=(24, 24, 8)).parent


@pytest.fixture(scope="session")
def trained(study, tmp_path_factory) -> Path:
    """Output folder of a finished training with two validations."""
    output = tmp_path_factory.mktemp("trained")
    train(study, output, val_interval=1)
    return output


@pytest.fixture(scope="session")
def trained_slices(study, tmp_path_factory) -> Path:
    """Output folder of a finished training with ``spatial_dims=2``."""
    output = tmp_path_factory.mktemp("trained_slices")
    train(study, output, spatial_dims=2, patch_size=[16, 16])
    return output


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    """Four training and two validation images of 52 x 40 pixels."""
    return write_study(tmp_path_factory.mktemp("bundle") / "photographs")


@pytest.fixture(scope="session")
def trained_on_photographs(photographs, tmp_path_factory) -> Path:
    """Output folder of a finished training of the small network."""
    output = tmp_path_factory.mktemp("trained_on_photographs")
    train_on_photographs(photographs, output)
    return output
