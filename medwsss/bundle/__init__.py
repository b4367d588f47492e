# SPDX-License-Identifier: Apache-2.0
"""The edge towards python -m monai.bundle run: what a command may say, and how its errors end."""

from __future__ import annotations
