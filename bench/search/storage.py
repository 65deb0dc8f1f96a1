"""Where a study's trials are kept: a journal in the store, or a database that several machines reach.

Optuna's own journal has two ways to be lost: a lock file that a killed process leaves holds everybody up for half a
minute, and a line that is cut short spoils the file for ever once another is appended to it. So the lock here is the
kernel's, which ends with its process, and whoever takes it cuts a torn last line off first.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError, first_line
from bench.core.printable import without_passwords

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study

DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}
"""The driver that the extra of that name installs, where an address names none."""

_TRIES = 6
_EXTRA = {"psycopg": "postgresql", "pymysql": "mysql"}


class Flock:
    """Optuna's lock interface over `flock`: held by a process, given back by its death."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock; cut off what a killed process left of a line."""
        handle = os.open(self._journal.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._handle = handle
        _mend(self._journal)
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def open_study(name: str, folder: Path, url: str | None, pruner: Any = None, sampler: Any = None) -> Study:
    """The Optuna study of that name, made where it is missing; UserError for a database that cannot be reached."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = _journal(folder / "journal.log") if url is None else _database(url)
        return optuna.create_study(
            study_name=name,
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=pruner or optuna.pruners.NopPruner(),
            sampler=sampler,
        )
    except UserError:
        raise
    except Exception as error:
        place = str(folder) if url is None else safe_url(url)
        raise UserError(f"The study cannot be kept in {place}: {_without(first_line(error), url)}") from error


def is_storage_error(error: Exception) -> bool:
    """Whether a database, or what stands between it and Optuna, has failed."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, (OptunaError, SQLAlchemyError))


def said(error: Exception, url: str | None) -> str:
    """What a storage's failure says, in one line without passwords."""
    return _without(first_line(error), url)


def safe_url(url: str) -> str:
    """An address without its password."""
    from sqlalchemy.engine import make_url

    try:
        return without_passwords(str(make_url(url).render_as_string(hide_password=True)))
    except Exception:
        return "--storage"


def _journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    lock: Any = Flock(path)
    lock.acquire()  # a torn last line would be read before anything is appended
    lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _database(url: str) -> BaseStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UserError("--storage is no address; expected one such as postgresql://user@host/name.") from None
    parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
    try:
        return _made(lambda: RDBStorage(parsed.render_as_string(hide_password=False)))
    except (ImportError, ModuleNotFoundError) as error:
        scheme = parsed.drivername.partition("+")
        missing = getattr(error, "name", None) or scheme[2] or scheme[0]
        extra = _EXTRA.get(missing)
        hint = f"pip install 'methodbench[{extra}]'" if extra else f"install {missing}"
        raise UserError(f"--storage {safe_url(url)} needs the driver {missing}; {hint}.") from None


def _made(make: Callable[[], BaseStorage]) -> BaseStorage:
    """Several processes may make the tables of a new database at once: one succeeds, the others look again."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for place in range(_TRIES):
        try:
            return make()
        except (IntegrityError, OperationalError, ProgrammingError) as error:
            if place == _TRIES - 1 or not any(word in str(error) for word in ("duplicate", "exist", "locked")):
                raise
            time.sleep(0.1 * 2**place)
    raise AssertionError("unreachable")


def _mend(path: Path) -> None:
    """Cut a last line off that does not end."""
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            place = file.read(end - start).rfind(b"\n")
            if place >= 0:
                end = start + place + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def _without(text: str, url: str | None) -> str:
    """A driver's message may repeat the address, password and all."""
    if url is None:
        return text
    from sqlalchemy.engine import make_url

    try:
        password = make_url(url).password
    except Exception:
        password = None
    text = without_passwords(text)
    return text.replace(str(password), "***") if password else text
