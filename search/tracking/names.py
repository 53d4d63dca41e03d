"""The tags by which our runs are known in MLflow."""

from __future__ import annotations

STUDY_TAG, KEY_TAG, TRIAL_TAG = "augsearch.study", "augsearch.key", "augsearch.trial"
CHILD_TAG = "augsearch.child"
