"""Carrying out a plan: one run after the other, shared with whoever else works on the same store."""

from __future__ import annotations

import contextlib
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.core.errors import Interrupted, Pruned, UserError
from bench.data.access import Access
from bench.data.prepare import Reading
from bench.execute.options import Options
from bench.execute.progress import Progress

if TYPE_CHECKING:
    from bench.plan.run import Run
    from bench.store import Claim, Store

_POLL_SECONDS = 1.0


@dataclass
class Outcome:
    """What became of a plan's runs, by key."""

    finished: list[str] = field(default_factory=list)  # by this process
    present: list[str] = field(default_factory=list)  # before, or by another process
    failed: dict[str, str] = field(default_factory=dict)  # key -> last line of the traceback
    pruned: dict[str, int] = field(default_factory=dict)  # key -> steps made, ended by a search; nothing is left
    refused: dict[str, str] = field(default_factory=dict)  # key -> what the person must mend
    interrupted: bool = False

    def joined(self, other: Outcome) -> Outcome:
        """Both together."""
        return Outcome(
            [*self.finished, *other.finished],
            [*self.present, *other.present],
            self.failed | other.failed,
            self.pruned | other.pruned,
            self.refused | other.refused,
            self.interrupted or other.interrupted,
        )


def run_all(
    runs: Sequence[Run], store: Store, access: Access, options: Options, progress: Progress, retry: bool = False
) -> Outcome:
    """Carry out the runs that are not done. A failure is kept as a row, and the grid goes on.

    Ends when every run is done, failed or refused, here or in another process that works on the store.
    """
    outcome = Outcome()
    waiting = _open(runs, store, outcome, retry)
    try:
        if waiting:
            _prepare(waiting, access, options, progress, outcome)
        waiting = [run for run in waiting if run.key not in outcome.refused]
        for run in waiting:
            store.enqueue(run.key, dict(run.spec), dict(run.request))
        for _ in range(len(runs) - len(waiting)):
            progress.settled()
        while waiting:
            left = []
            for run in waiting:
                if _attempt(run, store, access, options, progress, retry, outcome):
                    progress.settled()
                else:
                    left.append(run)
            if len(left) == len(waiting):
                progress.phase(f"waiting for {len(left)} runs of other processes")
                if options.stop.wait(_POLL_SECONDS):
                    raise Interrupted
            waiting = left
    except Interrupted:
        outcome.interrupted = True
    return outcome


def _open(runs: Sequence[Run], store: Store, outcome: Outcome, retry: bool) -> list[Run]:
    """The runs that are not done, and not failed unless they are to be tried again."""
    waiting = []
    for run in runs:
        state = store.state(run.key)
        if state == "done":
            outcome.present.append(run.key)
        elif state == "failed" and not retry:
            outcome.failed[run.key] = _last_line(store, run.key)
        else:
            waiting.append(run)
    return waiting


def _prepare(runs: Sequence[Run], access: Access, options: Options, progress: Progress, outcome: Outcome) -> None:
    """Read every task's data before anything is claimed: what a person must mend is said before hours are spent."""
    progress.phase("loading torch and lightning")
    from bench.execute.cost import look_again
    from bench.execute.engine import choose_device, prepared_data

    look_again()
    choose_device(options.device)  # a device that is not there is one mistake, not one for each run
    made: set[str] = set()
    reading = Reading(access)
    for run in runs:
        if options.stop.is_set():
            raise Interrupted
        if run.data in made:
            continue
        made.add(run.data)
        progress.phase(f"preparing {run.task['name']}")
        try:
            prepared_data(run, access, _preparing(run, progress), reading)
            continue
        except UserError as error:
            said = str(error)
        except Exception as error:  # a generator's own mistake
            said = f"The data of {run.task['name']} cannot be made: {_safe(f'{type(error).__name__}: {error}')}"
        outcome.refused.update({other.key: said for other in runs if other.data == run.data})


def _preparing(run: Run, progress: Progress) -> Callable[[int, int], None]:
    """Tells how far the writing of a task's inputs is."""

    def told(done: int, total: int) -> None:
        progress.phase(f"preparing {run.task['name']}: {done:,} of {total:,} rows")

    return told


def _attempt(
    run: Run, store: Store, access: Access, options: Options, progress: Progress, retry: bool, outcome: Outcome
) -> bool:
    """Whether the run is settled now. False: another process holds it."""
    if options.stop.is_set():
        raise Interrupted
    try:
        store.enqueue(run.key, dict(run.spec), dict(run.request))  # somebody may have removed it meanwhile
        claim = store.claim(run.key, retry=retry)
    except UserError:
        if run.key in store:
            raise
        return False
    if claim is None:
        return _elsewhere(run, store, outcome)
    with claim:
        try:
            record = _execute(run, claim, access, options, progress)
        except Interrupted:
            claim.release()
            raise
        except KeyboardInterrupt:
            claim.release()
            raise Interrupted from None
        except Pruned as end:
            claim.release()
            with contextlib.suppress(UserError):
                store.remove([run.key])
            outcome.pruned[run.key] = end.steps
            return True
        except UserError as error:
            _withdraw(run, claim, store)
            outcome.refused[run.key] = str(error)
            return True
        except (Exception, SystemExit) as error:
            line = _safe(f"{type(error).__name__}: {error}").splitlines()[0]
            with contextlib.suppress(UserError, OSError):  # no room even for this: the claim is given back below
                claim.fail(_failure(run, line), _safe(traceback.format_exc()))
            outcome.failed[run.key] = line
            return True
        try:
            published = claim.publish(record)
        except (UserError, OSError) as error:
            outcome.refused[run.key] = f"{run.label} is finished and could not be published: {error}"
            return True
        if published:
            for left in claim.folder.parent.glob("attempt-*/checkpoint"):  # of attempts that were interrupted
                shutil.rmtree(left, ignore_errors=True)
            outcome.finished.append(run.key)
            return True
    return False


def _withdraw(run: Run, claim: Claim, store: Store) -> None:
    """Give a claim back after a person's mistake. Where nothing came of the run, nothing is left of it."""
    claim.release()
    if claim.attempt == 1 and not (claim.folder / "selection.json").exists():
        with contextlib.suppress(UserError):  # another process may have claimed it already
            store.remove([run.key])


def _safe(text: str) -> str:
    """Text that can be written down: a file name that is no text may stand in a message."""
    return text.encode("utf-8", "backslashreplace").decode()


def _elsewhere(run: Run, store: Store, outcome: Outcome) -> bool:
    state = store.state(run.key)
    if state == "done":
        outcome.present.append(run.key)
    elif state == "failed":
        outcome.failed[run.key] = _last_line(store, run.key)
    return state in ("done", "failed")


def _last_line(store: Store, key: str) -> str:
    return ((store.error(key) or "").strip().splitlines() or [""])[-1]


def _execute(run: Run, claim: Claim, access: Access, options: Options, progress: Progress) -> dict[str, Any]:
    from bench.execute.engine import execute

    return execute(run, claim.folder, claim.previous, access, options, progress)


def _failure(run: Run, line: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "key": run.key,
        "spec": dict(run.spec),
        "request": dict(run.request),
        "error": line,
        "finished": time.time(),
    }
