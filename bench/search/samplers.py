"""Samplers without a state: what trial n proposes is a function of the study, of n and of the trials before it.

A sampler that carries its random state along cannot be resumed after a crash, nor shared by processes. Here each
proposal is made anew: the stream `proposal` at the study's coordinates and the trial's number gives the random
numbers, and the finished trials give what has been learnt. Trial 0 is always the declared parameters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.core.canonical import canonical
from bench.core.streams import generator, seed
from bench.plan.space import Parameter, Space, Values

if TYPE_CHECKING:
    import numpy as np
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial

Coordinates = tuple[str | int | None, ...]


def propose(
    sampler: str, space: Space, coordinates: Coordinates, number: int, before: Sequence[FrozenTrial]
) -> Values | None:
    """The values of trial `number`, 1 or later, given the finished trials `before` it; None when a grid is used up."""
    if sampler == "grid":
        return next(itertools.islice(space.grid(), number - 1, None), None)
    return _SAMPLERS[sampler](space, coordinates, number, before)


def coordinates_of(spec: Mapping[str, Any]) -> Coordinates:
    """The place of a study's random numbers: the same for a longer search, so that it makes the same trials first."""
    overrides = canonical(list(spec["overrides"]))
    return (spec["task"], spec["replicate"], spec["method"], spec["fold"], overrides, spec["sampler_seed"])


def distribution(parameter: Parameter) -> BaseDistribution:
    """A parameter in Optuna's words. Choices that it cannot keep (lists) stand there as text."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.choices:
        return CategoricalDistribution(words_of(parameter))
    if parameter.integer:
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def words_of(parameter: Parameter) -> list[Any]:
    """The choices as Optuna keeps them; as text where some are equal there, as 1 and true are."""
    words = [kept(one) for one in parameter.choices]
    same = any(words.index(word) != place for place, word in enumerate(words))
    return [canonical(one) for one in parameter.choices] if same else words


def kept_of(parameter: Parameter, value: Any) -> Any:
    """One value of a parameter as Optuna keeps it."""
    if not parameter.choices:
        return value
    places = [canonical(one) for one in parameter.choices]
    return words_of(parameter)[places.index(canonical(value))] if canonical(value) in places else kept(value)


def kept(value: Any) -> Any:
    """A value as Optuna keeps it."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else canonical(value)


def _random(space: Space, coordinates: Coordinates, number: int, before: Sequence[FrozenTrial]) -> Values:
    drawn = generator("proposal", *coordinates, number)
    return space.at([float(one) for one in drawn.random(len(space.parameters))])


def _quasi_random(space: Space, coordinates: Coordinates, number: int, before: Sequence[FrozenTrial]) -> Values:
    """A scrambled Sobol sequence (Owen. 1998): one for the whole study, of which trial n is the point n - 1."""
    from scipy.stats import qmc

    engine = qmc.Sobol(len(space.parameters), scramble=True, rng=_seed(coordinates, 0))
    if number > 1:
        engine.fast_forward(number - 1)
    return space.at([float(one) for one in engine.random(1)[0]])


def _tpe(space: Space, coordinates: Coordinates, number: int, before: Sequence[FrozenTrial]) -> Values:
    """Tree-structured Parzen estimators (Bergstra et al. Algorithms for Hyper-Parameter Optimization. 2011)."""
    import optuna

    return _asked(optuna.samplers.TPESampler(seed=_seed(coordinates, number)), space, before)


def _gp(space: Space, coordinates: Coordinates, number: int, before: Sequence[FrozenTrial]) -> Values:
    """Gaussian processes, as Optuna has them."""
    import warnings

    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental, and independent sampling of what conditions leave out
        return _asked(optuna.samplers.GPSampler(seed=_seed(coordinates, number)), space, before)


def _cma_es(space: Space, coordinates: Coordinates, number: int, before: Sequence[FrozenTrial]) -> Values:
    """CMA-ES (Hansen. The CMA Evolution Strategy: A Tutorial. 2016. arXiv:1604.00772) over the ranges.

    The strategy is grown again from the finished trials, one generation after the other in the order of their numbers;
    choices and conditional parameters are drawn at random.
    """
    ranges = [one for one in space.parameters if not one.choices and not one.when]
    drawn = generator("proposal", *coordinates, number)
    point = {one.key: float(place) for one, place in zip(space.parameters, drawn.random(len(space.parameters)))}
    if ranges:
        found = _strategy(ranges, coordinates, before, _seed(coordinates, number))
        point |= {one.key: float(place) for one, place in zip(ranges, found, strict=True)}
    return space.at([min(point[one.key], 1 - 1e-12) for one in space.parameters])


def _strategy(
    ranges: Sequence[Parameter], coordinates: Coordinates, before: Sequence[FrozenTrial], number: int
) -> np.ndarray[Any, Any]:
    """What the strategy asks for next, in the unit cube, given the finished trials."""
    import numpy as np
    from cmaes import CMA

    count = max(2, len(ranges))  # the library takes no fewer; a second one then means nothing
    spare = [0.5] * (count - len(ranges))
    strategy = CMA(
        mean=np.full(count, 0.5),
        sigma=1 / 6,
        bounds=np.tile([0.0, 1.0], (count, 1)),
        seed=_seed(coordinates, 0),
    )
    told = [
        (np.array([*(one.place(float(trial.params[one.key])) for one in ranges), *spare]), -float(trial.values[0]))
        for trial in before
        if trial.values and all(one.key in trial.params for one in ranges)
    ]
    size = strategy.population_size
    for start in range(0, len(told) - size + 1, size):
        strategy.tell(told[start : start + size])
    strategy.reseed_rng(number)
    asked: np.ndarray[Any, Any] = strategy.ask()[: len(ranges)]
    return asked


def _asked(sampler: BaseSampler, space: Space, before: Sequence[FrozenTrial]) -> Values:
    """Ask a sampler of Optuna's that is told of the finished trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(before)
    return suggested(study.ask(), space)


def suggested(trial: OptunaTrial, space: Space) -> Values:
    """Walk through a space with an Optuna trial, which remembers what it is asked for."""
    values: Values = {}
    for one in space.parameters:
        if space.active(one, values):
            values[one.key] = _suggest(trial, one)
    return values


def _suggest(trial: OptunaTrial, one: Parameter) -> Any:
    if one.choices:
        words = words_of(one)
        return one.choices[words.index(trial.suggest_categorical(one.key, words))]
    if one.integer:
        step = int(one.step or 1)
        return trial.suggest_int(one.key, int(one.low), int(one.high), step=step, log=one.log)
    found = trial.suggest_float(one.key, one.low, one.high, step=one.step, log=one.log)
    return min(max(float(f"{found:.6g}"), one.low), one.high)


def _seed(coordinates: Coordinates, number: int) -> int:
    return seed("proposal", *coordinates, number) % 2**31


_SAMPLERS: dict[str, Callable[[Space, Coordinates, int, Sequence[FrozenTrial]], Values]] = {
    "random": _random,
    "quasi-random": _quasi_random,
    "tpe": _tpe,
    "gp": _gp,
    "cma-es": _cma_es,
}
