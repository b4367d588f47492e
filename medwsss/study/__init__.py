# SPDX-License-Identifier: Apache-2.0
"""A study on disk: its data list, its files, what their values mean, and what is wrong with them."""

from __future__ import annotations

from medwsss.study.check import StudyReport, check_study
from medwsss.study.datalist import annotation_of, check_dataset_dir, load_datalist, load_training
from medwsss.study.declared import declared_labels, label_mapper, read_class_names, read_schema
from medwsss.study.findings import Findings, examine
from medwsss.study.images import check_images
from medwsss.study.inputs import find_inputs
from medwsss.study.mapping import MapWeakLabels
from medwsss.study.patients import patients_by_image
from medwsss.study.plan import Facts, Recipe, check_patch_size, facts_of, find_recipe, plan_training, read_recipe
from medwsss.study.problems import briefly, raise_problems
from medwsss.study.readers import StudyReader
from medwsss.study.schema import SCHEMAS, LabelSchema
from medwsss.study.seeds import write_seed_list
from medwsss.study.summary import StudySummary
from medwsss.study.tags import TagSchema, load_tagged, tag_schema
from medwsss.study.validation import Validation, plan_validation

__all__ = [
    "SCHEMAS",
    "Facts",
    "Findings",
    "LabelSchema",
    "MapWeakLabels",
    "Recipe",
    "StudyReader",
    "StudyReport",
    "StudySummary",
    "TagSchema",
    "Validation",
    "annotation_of",
    "check_dataset_dir",
    "check_images",
    "check_patch_size",
    "briefly",
    "check_study",
    "declared_labels",
    "examine",
    "facts_of",
    "find_inputs",
    "find_recipe",
    "label_mapper",
    "load_datalist",
    "load_tagged",
    "load_training",
    "patients_by_image",
    "plan_training",
    "plan_validation",
    "raise_problems",
    "read_class_names",
    "read_recipe",
    "read_schema",
    "tag_schema",
    "write_seed_list",
]
