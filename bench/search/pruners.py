"""Pruners: Optuna's own, told of each validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


def make_pruner(name: str, validations: int) -> BasePruner:
    """A pruner by name; resources are counted in validations, of which a whole run has `validations`.

    median: worse than half of the trials so far at the same validation, from the fifth trial on. asha: Li et al. A
    System for Massively Parallel Hyperparameter Tuning. 2020. hyperband: Li et al. Hyperband. 2018.
    """
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner(n_startup_trials=5)
    if name == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=max(1, validations), reduction_factor=3)
    return pruners.NopPruner()
