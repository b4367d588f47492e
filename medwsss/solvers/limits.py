# SPDX-License-Identifier: Apache-2.0
"""What keeps a step of ``NaturalGradient`` within single precision, the same for every backend."""

from __future__ import annotations

#: The least a class keeps at a free voxel, so that it can come back, and products of two stay normal float32 numbers.
LABEL_FLOOR = 1e-18
#: The label below which a class is moved in ``ln y`` as if it had this much.
SMALL_LABEL = 0.1
#: The largest change of ``ln y`` that the gradient makes in one step.
LARGEST_CHANGE = 1.0
#: The curvature below which a voxel is moved as if it had this much, so that no step is infinite.
LEAST_CURVATURE = 1e-36
