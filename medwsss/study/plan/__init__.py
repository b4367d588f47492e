# SPDX-License-Identifier: Apache-2.0
"""From a study in numbers to a recipe: what a bundle is to do with it, value by value, each with its reason."""

from __future__ import annotations

from medwsss.study.plan.facts import Facts, facts_of
from medwsss.study.plan.patches import check_patch_size
from medwsss.study.plan.recipe import Recipe, find_recipe, plan_training, read_recipe

__all__ = ["Facts", "Recipe", "check_patch_size", "facts_of", "find_recipe", "plan_training", "read_recipe"]
