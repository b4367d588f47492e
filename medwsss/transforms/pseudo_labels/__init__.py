# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels outside training."""
