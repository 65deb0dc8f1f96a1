"""Claims: who works on a run, and the one way in which its result is published.

A claim is an entry of the run's log. To publish, fail or release is to create the very next entry; a takeover
is that entry too. So whoever was taken over finds it there, and what it computed stays in its folder, unread.
"""

from __future__ import annotations

import contextlib
import re
import threading
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.core.files import write_atomic, write_json
from bench.store import events, liveness
from bench.store.access import timestamp, writing
from bench.store.events import Entry
from bench.store.journal import Journal

Record = dict[str, Any]

BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0

RESUME = "checkpoint/run.ckpt"
"""What an attempt holds when another can go on from it."""

_ATTEMPT = re.compile(r"attempt-(\d{6,})")


def standing(run: Path) -> tuple[str, Entry]:
    """The state of a run's folder (queued, running, done, failed or stale), and where its log stands."""
    entry = events.last(run / "events")
    if entry.torn:
        # An entry that cannot be read may still be in the making; an old one is a dead process's.
        if liveness.age(events.path_of(run / "events", entry.number)) < STALE_SECONDS:
            return "running", entry
        return {"claim": "stale", "done": "done", "failed": "failed"}.get(entry.kind, "queued"), entry
    if entry.kind == "claim":
        return ("running" if _held(run, entry) else "stale"), entry
    return (entry.kind if entry.kind in ("done", "failed") else "queued"), entry


def attempt_folder(run: Path, attempt: int) -> Path:
    """Where an attempt writes."""
    return run / f"attempt-{attempt:06d}"


def take(run: Path, journal: Journal, retry: bool = False) -> Claim | None:
    """Claim a run's folder; None when it is done, held by a living other, or failed without `retry`."""
    state, entry = standing(run)
    if state in ("done", "running") or (state == "failed" and not retry):
        return None
    earlier = _attempts(run)
    attempt = max([entry.attempt + entry.torn, *earlier]) + 1
    owner = uuid.uuid4().hex
    event = {
        "event": "claim",
        "attempt": attempt,
        "owner": owner,
        "at": timestamp(),
        **liveness.this_process(),
    }
    with journal.touching(run.name):
        if not events.append(run / "events", entry.number + 1, event):
            return None
    with_checkpoint = (attempt_folder(run, number) for number in sorted(earlier, reverse=True))
    previous = next((folder for folder in with_checkpoint if (folder / RESUME).is_file()), None)
    claim = Claim(run, journal, entry.number + 1, owner, attempt, previous)
    try:
        claim.folder.mkdir()
        (run / "beat").touch()
    except FileNotFoundError:  # the run was removed at this moment
        return None
    except BaseException:
        with contextlib.suppress(Exception):
            claim.release()  # or it would be held for as long as this process lives
        raise
    return claim


class Claim:
    """The right to work on one run and to publish its result, until it ends or is taken over.

    As a context manager it beats while it lives, and releases the run when the block ends without a result.
    """

    def __init__(
        self, run: Path, journal: Journal, number: int, owner: str, attempt: int, previous: Path | None
    ) -> None:
        self.key = run.name
        self.attempt = attempt
        self.folder = attempt_folder(run, attempt)  # this attempt's own, empty at first
        self.previous = previous  # the newest earlier attempt that can be gone on from
        self._run = run
        self._journal = journal
        self._number = number
        self._owner = owner
        self._over = threading.Event()

    @property
    def lost(self) -> bool:
        """Whether another has taken the run over, or removed it: nothing of this claim can be published."""
        if self._over.is_set():
            return False
        log = self._run / "events"
        if events.path_of(log, self._number + 1).exists():
            return True
        # The owner is compared as well: a run removed and claimed anew has a log that starts again.
        return bool(events.read(log, self._number).get("owner") != self._owner)

    def publish(self, record: Record) -> bool:
        """Write `record` and make it the run's result; False when the claim was lost or has ended."""
        return self._end({"event": "done"}, record)

    def fail(self, record: Record, error: str) -> bool:
        """Write `record` and the traceback `error`, and mark the run as failed; False as for `publish`."""
        lines = [line.strip() for line in error.splitlines() if line.strip()]
        return self._end({"event": "failed", "error": lines[-1][:500] if lines else ""}, record, error)

    def adopt(self, at: str) -> bool:
        """Publish the record already in the folder, made elsewhere at the time `at`; False as above."""
        return self._end({"event": "done", "at": at or timestamp()})

    def release(self) -> bool:
        """Give the run back unfinished, for the next claim to go on with; False as for `publish`."""
        return self._end({"event": "released"})

    def _end(self, event: dict[str, Any], record: Record | None = None, error: str | None = None) -> bool:
        """Write what the attempt leaves, then the entry after the claim; an `at` in `event` is kept."""
        if self._over.is_set() or self.lost:
            return False
        with writing(self._run):
            if error is not None:
                write_atomic(self.folder / "error.txt", error)
            if record is not None:
                write_json(self.folder / "record.json", record)
            with self._journal.touching(self.key):
                event = {"attempt": self.attempt, "at": timestamp(), **event}
                durable = record is not None or event["event"] == "done"
                if not events.append(self._run / "events", self._number + 1, event, durable):
                    return False
        self._over.set()
        return True

    def __enter__(self) -> Claim:
        threading.Thread(target=self._beat, name=f"beat-{self.key[:8]}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A claim that cannot be given back goes stale by itself; it must not hide what ended the block.
        with contextlib.suppress(Exception):
            self.release()
        self._over.set()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # a file system that stumbles may be back at the next beat
                if self.lost:
                    return  # or this beat would keep the next holder's claim alive
                (self._run / "beat").touch()


def _held(run: Path, entry: Entry) -> bool:
    known = liveness.lives(entry.event)
    if known is not None:
        return known
    return liveness.age(run / "beat", events.path_of(run / "events", entry.number)) < STALE_SECONDS


def _attempts(run: Path) -> list[int]:
    return [int(match[1]) for folder in run.iterdir() if (match := _ATTEMPT.fullmatch(folder.name))]
