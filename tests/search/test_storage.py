"""Journals that survive what kills their writers; addresses that give no password away."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import optuna
import pytest

from bench.core.errors import UserError
from bench.search.storage import Flock, open_study, safe_url


def test_plain_optuna_opens_the_journal(tmp_path: Path) -> None:
    """So does its dashboard."""
    study = open_study("mine", tmp_path, None)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
    loaded = optuna.load_study(study_name="mine", storage=optuna.storages.JournalStorage(backend))
    assert [trial.value for trial in loaded.trials] == [1.0]
    assert loaded.direction.name == "MAXIMIZE"


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    study = open_study("mine", tmp_path, None)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    journal = tmp_path / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "work')
    study.add_trial(optuna.trial.create_trial(value=2.0))  # by a process that had it open
    assert [trial.value for trial in open_study("mine", tmp_path, None).trials] == [1.0, 2.0]
    journal.write_bytes(whole[:-3])
    open_study("mine", tmp_path, None)
    assert journal.read_bytes().startswith(whole[: whole[:-1].rfind(b"\n") + 1])


def test_a_line_longer_than_a_block_is_cut_off_too(tmp_path: Path) -> None:
    study = open_study("mine", tmp_path, None)
    journal = tmp_path / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b"x" * 200_000)
    study.add_trial(optuna.trial.create_trial(value=2.0))
    assert [trial.value for trial in open_study("mine", tmp_path, None).trials] == [2.0]


def _hold(path: str) -> None:
    Flock(Path(path)).acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_gives_its_lock_back_at_once(tmp_path: Path) -> None:
    open_study("mine", tmp_path, None)
    holder = multiprocessing.get_context("fork").Process(target=_hold, args=(str(tmp_path / "journal.log"),))
    holder.start()
    holder.join()
    begun = time.monotonic()
    open_study("mine", tmp_path, None).add_trial(optuna.trial.create_trial(value=1.0))
    assert time.monotonic() - begun < 20, "Optuna's own lock is held for 30 s"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "no address"),
        ("postgresql://me:secret@localhost:1/none", "localhost:1"),
        ("oracle://x", "--storage"),
    ],
)
def test_databases_that_cannot_be_reached_are_sentences(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        open_study("mine", tmp_path, url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_passwords_are_hidden() -> None:
    assert safe_url("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"


def test_sqlite_works(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    open_study("mine", tmp_path, url).add_trial(optuna.trial.create_trial(value=3.0))
    assert open_study("mine", tmp_path, url).best_value == 3.0
