# SPDX-License-Identifier: Apache-2.0
"""``make bench``: what can be measured in minutes."""

from __future__ import annotations

from tests.benchmarks.solver import main

if __name__ == "__main__":
    main()
