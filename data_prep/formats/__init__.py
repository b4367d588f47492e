# SPDX-License-Identifier: Apache-2.0
"""Kinds of files that a study is made of."""

from __future__ import annotations
