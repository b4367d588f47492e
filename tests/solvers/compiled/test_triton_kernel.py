# SPDX-License-Identifier: Apache-2.0
"""The kernel for CUDA compiles to machine code of a GPU, also without one; test_step.py has what it computes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

CODE = """
from itertools import product

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from medwsss.solvers.compiled.triton_kernel import sweep
from medwsss.solvers.compiled.triton_step import BLOCK, WARPS

ARGUMENTS = dict.fromkeys(["y", "previous", "unary"], "*fp32") | {"free": "*i1", "weights": "*fp32", "shifts": "*i32"}
ARGUMENTS |= dict.fromkeys(["stride", "out", "energy"], "*fp32") | {"size": "i32", "eta": "fp32", "momentum": "fp32"}
terms = [(kind, 2, *terms, True) for kind, *terms in product(range(4), range(3), (False, True))]
others = [(2, 4, 1, True, True), (2, 13, 1, True, True), (2, 2, 0, False, False)]  # 8 and 26 neighbours, energy alone
for kind, offsets, similarity, logarithmic, move in [*terms, *others]:
    partners = triton.next_power_of_2(offsets * (2 if move else 1))
    constants = {"classes": 21, "offsets": offsets, "partners": partners, "kind": kind, "similarity": similarity}
    constants |= {"logarithmic": logarithmic, "move": move, "block": BLOCK}
    source = ASTSource(sweep, ARGUMENTS | dict.fromkeys(constants, "constexpr"), constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": WARPS})
    # Sums over a voxel's neighbours stay in its thread: what threads share is the sum of a block's energy.
    print(len(compiled.asm["cubin"]) > 0, compiled.metadata.shared <= 4 * WARPS)
"""


def test_compiles_for_an_h100(tmp_path) -> None:
    cache = {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    told = subprocess.run([sys.executable, "-c", CODE], env=os.environ | cache, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == ["True"] * 2 * (4 * 6 + 3)
