# SPDX-License-Identifier: Apache-2.0
"""Images that are larger than memory, or than one machine, in blocks that have the results of the whole."""

from __future__ import annotations

from medwsss.blocks.jobs import Job, pending, run_job, run_jobs
from medwsss.blocks.labels import LabelOptions, plan_labels
from medwsss.blocks.plan import Case, Plan, read_plan

__all__ = ["Case", "Job", "LabelOptions", "Plan", "pending", "plan_labels", "read_plan", "run_job", "run_jobs"]
