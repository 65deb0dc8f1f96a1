"""Classification: one of the declared classes per example, learnt with cross-entropy."""

from __future__ import annotations

from bench.problems._base import Classes

PROBLEM = Classes
