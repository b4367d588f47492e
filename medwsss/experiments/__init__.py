# SPDX-License-Identifier: Apache-2.0
"""Trainings of many methods under one budget, and what they say: ``python -m medwsss.experiments``."""

from __future__ import annotations
