"""A worker asks for trials and tells what became of them, until the study's budget is spent.

Any number of workers may share a study. A trial's number is given out by the storage, once; its values are written
down before it is carried out. So a trial whose worker died is taken up by the next one under its own number, with its
own values, and the run behind it is claimed in the store like any other.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench.core.errors import Interrupted
from bench.plan.space import Values, overrides
from bench.plan.study import Study
from bench.search.samplers import coordinates_of, distribution, kept_of, propose
from bench.select.trials import Trial
from bench.store.liveness import lives, this_process

if TYPE_CHECKING:
    from optuna.study import Study as Kept
    from optuna.trial import FrozenTrial

POLL_SECONDS = 0.5
STALE_SECONDS = 600.0  # without a sign from a worker on another machine

_LIVE: set[str] = set()  # this process's workers

Report = Callable[[int, float], bool]


@dataclass(frozen=True)
class Ended:
    """What became of a trial's run."""

    state: str  # done, pruned, failed
    key: str
    value: float | None = None
    steps: int = 0
    seconds: float = 0.0
    reused: bool = False
    error: str | None = None
    looked: dict[str, float] = field(default_factory=dict)  # scores of parts that the rule reads beside validation


Carry = Callable[[int, Values | None, Report], Ended]


@dataclass
class Worker:
    """One worker on one study. `running` says whether somebody works on the run of that key."""

    study: Study
    kept: Kept
    stop: threading.Event
    running: Callable[[str], bool] = lambda key: False
    told: Callable[[list[Trial]], None] = lambda trials: None
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _seen: dict[int, tuple[str, float]] = field(default_factory=dict)

    def work(self, carry: Carry) -> list[Trial]:
        """Carry out trials until the budget is spent and nobody works on one; all of them, in order.

        Raises Interrupted when asked to stop, and what `carry` raises for a person's mistake; the trial then waits.
        """
        with self._alive():
            while True:
                self.told(trials_of(self.kept, self.study.trials))
                found = self._next()
                if found is not None:
                    self._carry(found, carry)
                elif any(self._unfinished()):
                    if self.stop.wait(POLL_SECONDS):
                        raise Interrupted
                else:
                    return trials_of(self.kept, self.study.trials)

    def _next(self) -> FrozenTrial | None:
        """A trial to carry out: one whose worker died, else a new one while there is a budget for it."""
        from optuna.trial import TrialState, create_trial

        if self.stop.is_set():
            raise Interrupted
        worker = {**this_process(), "token": self._token}
        storage, identity = self.kept._storage, self.kept._study_id
        for trial in self._unfinished():
            if self._orphaned(trial) and self._taken(trial, worker):
                return storage.get_trial(trial._trial_id)
        trials = self.kept.get_trials(deepcopy=False)
        if len(trials) >= self.study.trials or self._out_of_time(trials):
            return None
        made = storage.create_new_trial(identity, create_trial(state=TrialState.RUNNING, user_attrs={"worker": worker}))
        trial = storage.get_trial(made)
        others = [one for one in self.kept.get_trials(deepcopy=False) if one.number < trial.number]
        if trial.number >= self.study.trials or self._out_of_time(others):  # another worker spent the last of it
            self.kept.tell(trial.number, state=TrialState.FAIL)
            return None
        return trial

    def _taken(self, trial: FrozenTrial, worker: dict[str, Any]) -> bool:
        """Take an orphan over; False where another worker did at the same moment, or has ended it."""
        from optuna.exceptions import UpdateFinishedTrialError

        storage = self.kept._storage
        try:
            storage.set_trial_user_attr(trial._trial_id, "worker", worker)
        except UpdateFinishedTrialError:
            return False
        now = storage.get_trial(trial._trial_id)
        return not now.state.is_finished() and (now.user_attrs.get("worker") or {}).get("token") == self._token

    def _carry(self, trial: FrozenTrial, carry: Carry) -> None:
        """Carry a trial out and tell; where another worker has ended it meanwhile, its word stands."""
        from optuna.exceptions import UpdateFinishedTrialError

        with contextlib.suppress(UpdateFinishedTrialError):
            self._tell(trial, carry)

    def _tell(self, trial: FrozenTrial, carry: Carry) -> None:
        from optuna.trial import Trial as Live
        from optuna.trial import TrialState

        values = self._values(trial)
        live = Live(self.kept, trial._trial_id)

        def report(step: int, score: float) -> bool:
            if step not in self.kept._storage.get_trial(trial._trial_id).intermediate_values:
                live.report(score, step)
            return live.should_prune()

        begun = time.monotonic()
        ended = carry(trial.number, values, report)
        # What training took: loading libraries, preparing data and waiting for others are nobody's budget.
        seconds = ended.seconds if ended.state == "done" else time.monotonic() - begun
        body = asdict(ended) | {"seconds": round(seconds, 3), "overrides": list(overrides(values or {}))}
        self.kept._storage.set_trial_user_attr(
            trial._trial_id, "run", body
        )  # before the end, after which none is taken
        states = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        told = ended.value if ended.state == "done" else None
        self.kept.tell(trial.number, told, state=states[ended.state], skip_if_finished=True)

    def _values(self, trial: FrozenTrial) -> Values | None:
        """What the trial's values are, written down before anything else; None for the declared ones."""
        storage, space = self.kept._storage, self.study.space
        found = trial.user_attrs.get("values")
        if found is None:
            before = [one for one in self.kept.get_trials(deepcopy=False) if one.number < trial.number]
            finished = sorted((one for one in before if one.state.is_finished()), key=lambda one: one.number)
            sampler = str(self.study.spec["sampler"])
            found = space.defaults()
            if trial.number > 0:
                found = propose(sampler, space, coordinates_of(self.study.spec), trial.number, finished) or {}
            storage.set_trial_user_attr(trial._trial_id, "values", found)
        for one in space.parameters:
            if one.key in found and one.key not in trial.params:
                spread = distribution(one)
                inner = spread.to_internal_repr(kept_of(one, found[one.key]))
                storage.set_trial_param(trial._trial_id, one.key, inner, spread)
        return found if trial.number > 0 else None

    def _unfinished(self) -> list[FrozenTrial]:
        trials = self.kept.get_trials(deepcopy=False)
        return [one for one in trials if not one.state.is_finished() and one.number < self.study.trials]

    def _orphaned(self, trial: FrozenTrial) -> bool:
        """Whether nobody works on it any more."""
        worker = trial.user_attrs.get("worker") or {}
        if worker.get("token") == self._token:
            return True  # left by an error that this worker outlived
        known = lives(worker)
        if known is not None:
            return not known or (worker.get("pid") == os.getpid() and worker.get("token") not in _LIVE)
        return self._silent(trial)

    def _silent(self, trial: FrozenTrial) -> bool:
        """Whether a worker on another machine has given no sign for long, by this machine's clock."""
        key = (trial.user_attrs.get("run") or {}).get("key") or self._key(trial)
        if key and self.running(key):
            return False
        sign = f"{trial.user_attrs} {trial.params} {trial.intermediate_values}"
        before, since = self._seen.get(trial.number, ("", 0.0))
        if sign != before:
            self._seen[trial.number] = (sign, time.monotonic())
            return False
        return time.monotonic() - since > STALE_SECONDS

    def _key(self, trial: FrozenTrial) -> str | None:
        values = trial.user_attrs.get("values")
        if values is None:
            return None
        return self.study.runs(values if trial.number else None)[0].key

    def _out_of_time(self, trials: list[FrozenTrial]) -> bool:
        limit = self.study.spec["seconds"]
        if limit is None:
            return False
        return sum(float((one.user_attrs.get("run") or {}).get("seconds", 0.0)) for one in trials) >= float(limit)

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        _LIVE.add(self._token)
        try:
            yield
        finally:
            _LIVE.discard(self._token)


def trials_of(kept_study: Kept, count: int) -> list[Trial]:
    """The first `count` trials of a study, in order, as they stand."""
    made = []
    for one in sorted(kept_study.get_trials(deepcopy=False), key=lambda trial: trial.number)[:count]:
        body: dict[str, Any] = one.user_attrs.get("run") or {}
        values = one.user_attrs.get("values") if one.number else {}
        state = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}.get(one.state.name, "running")
        made.append(
            Trial(
                number=one.number,
                state=state,
                value=float(one.values[0]) if state == "done" and one.values else None,
                overrides=overrides(values or {}),
                key=body.get("key"),
                steps=int(body.get("steps") or 0),
                seconds=float(body.get("seconds") or 0.0),
                reused=bool(body.get("reused")),
                error=body.get("error"),
            )
        )
    return made
