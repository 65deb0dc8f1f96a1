"""Proposals depend on the study, the number and the trials before, on nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from bench.plan.space import Space, Values, make_space
from bench.plan.study import SAMPLERS
from bench.search.samplers import distribution, kept, propose

COORDINATES = ("toy/waves", 0, "lora", None, "[]", 0)
DECLARED = {
    "optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "adaptation.params.rank": {"low": 1.0, "high": 9.0},
    "adaptation.params.blocks": {"choices": [[1], [1, 2], None]},
    "optimizer.schedule": {"choices": ["constant", "linear"]},
    "optimizer.warmup": {"low": 0.0, "high": 0.5, "when": {"optimizer.schedule": "linear"}},
}
VALUE_OF = {
    "optimizer.lr": 1e-3, "adaptation.params.rank": 4, "adaptation.params.blocks": None,
    "optimizer.schedule": "constant", "optimizer.warmup": 0.0,
}  # fmt: skip
SPACE = make_space(DECLARED, VALUE_OF, (), "lora")
LEARN = ("tpe", "gp", "cma-es")


def ended(values: Values, score: float, space: Space = SPACE) -> FrozenTrial:
    spread = {one.key: distribution(one) for one in space.parameters if one.key in values}
    params = {key: kept(values[key]) for key in spread}
    return create_trial(state=TrialState.COMPLETE, value=score, params=params, distributions=spread)


def score_of(values: Values) -> float:
    return -((math.log10(values["optimizer.lr"]) + 2.3) ** 2) - 0.01 * (values["adaptation.params.rank"] - 7) ** 2


def search(sampler: str, count: int, space: Space = SPACE) -> list[Values]:
    before: list[FrozenTrial] = [ended(space.defaults(), score_of(space.defaults()), space)]
    made = []
    for number in range(1, count):
        values = propose(sampler, space, COORDINATES, number, before)
        if values is None:
            break
        made.append(values)
        before.append(ended(values, score_of(values), space))
    return made


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_in_the_space_and_the_same_again(sampler: str) -> None:
    made = search(sampler, 15)
    assert made == search(sampler, 15)
    for values in made:
        for one in SPACE.parameters:
            assert (one.key in values) == SPACE.active(one, values)
            if one.key in values:
                assert one.holds(values[one.key]), (one.key, values)
    assert len({str(values) for values in made}) > 10


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"grid"}))
def test_another_coordinate_is_another_search(sampler: str) -> None:
    assert propose(sampler, SPACE, COORDINATES, 3, []) != propose(sampler, SPACE, (*COORDINATES[:-1], 1), 3, [])
    assert propose(sampler, SPACE, COORDINATES, 3, []) != propose(sampler, SPACE, COORDINATES, 4, [])


@pytest.mark.parametrize("sampler", ["random", "quasi-random", "grid"])
def test_some_samplers_do_not_look_at_scores(sampler: str) -> None:
    assert propose(sampler, SPACE, COORDINATES, 5, []) == propose(
        sampler, SPACE, COORDINATES, 5, [ended(SPACE.defaults(), 1.0)]
    )


@pytest.mark.parametrize("sampler", LEARN)
def test_others_learn(sampler: str) -> None:
    """Later trials are better than the first ones, and better than those of a random search."""
    small = make_space({key: DECLARED[key] for key in list(DECLARED)[:2]}, VALUE_OF, (), "lora")
    made = [score_of(values) for values in search(sampler, 45, small)]
    drawn = [score_of(values) for values in search("random", 45, small)]
    assert np.mean(made[30:]) > np.mean(made[:10])
    assert np.mean(made[30:]) > np.mean(drawn)


def test_the_quasi_random_sequence_fills_evenly() -> None:
    one = make_space({"optimizer.warmup": {"low": 0.0, "high": 1.0}}, VALUE_OF, (), "lora")
    points = [propose("quasi-random", one, COORDINATES, number, []) for number in range(1, 17)]
    cells = [int(16 * values["optimizer.warmup"]) for values in points if values]
    assert sorted(cells) == list(range(16)), "a scrambled Sobol net: one point in every sixteenth"


def test_a_grid_ends() -> None:
    one = make_space({"optimizer.schedule": {"choices": ["constant", "linear"]}}, VALUE_OF, (), "lora")
    assert [propose("grid", one, COORDINATES, number, []) for number in (1, 2, 3)] == [
        {"optimizer.schedule": "constant"}, {"optimizer.schedule": "linear"}, None,
    ]  # fmt: skip


def test_proposals_leave_the_process_s_randomness_alone() -> None:
    np.random.seed(5)
    state: Any = np.random.get_state()[1]
    for sampler in SAMPLERS:
        propose(sampler, SPACE, COORDINATES, 2, [ended(SPACE.defaults(), 1.0)])
    assert (np.random.get_state()[1] == state).all()


def test_the_versions_in_use_keep_what_is_relied_on() -> None:
    study = optuna.create_study()
    identity = study._storage.create_new_trial(study._study_id, create_trial(state=TrialState.RUNNING))
    assert optuna.trial.Trial(study, identity).number == 0
