# SPDX-License-Identifier: Apache-2.0
"""One reader for every format of a study, the same for the check and for training."""

from __future__ import annotations

from medwsss.study.readers.names import SUFFIXES, stem_of, suffix_of
from medwsss.study.readers.study import StudyReader, loader

__all__ = ["SUFFIXES", "StudyReader", "loader", "stem_of", "suffix_of"]
