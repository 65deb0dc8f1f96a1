"""A study in PostgreSQL, shared by two processes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.search.storage import open_study
from bench.search.worker import Worker

from .test_worker import Planned, carry, outline, worker

ACCOUNT = "postgres"


def _programs() -> Path | None:
    """Where initdb and pg_ctl lie; Debian keeps them off the path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server of the test's own, on a socket in a folder of its own."""
    pytest.importorskip("psycopg", reason="a database: pip install 'methodbench[postgresql]'")
    programs = _programs()
    if programs is None:
        pytest.skip("a database: install PostgreSQL's server (Debian: apt-get install postgresql)")
    # PostgreSQL will not run as root.
    account: dict[str, Any] = {"user": ACCOUNT} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="bench-postgresql-"))
    folder.chmod(0o777)
    quiet: dict[str, Any] = {**account, "check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    try:
        data = str(folder / "data")
        subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "bench", "--no-sync"], **quiet)
        flags = f"-k {folder} -c listen_addresses='' -c fsync=off"
        subprocess.run([programs / "pg_ctl", "-D", data, "-o", flags, "-l", folder / "log", "-w", "start"], **quiet)
        try:
            yield f"postgresql://bench@/postgres?host={folder}"
        finally:
            subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **quiet)
    except (LookupError, PermissionError) as error:
        pytest.skip(f"a database: no account to run PostgreSQL under ({error})")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _work(url: str, folder: str, name: str, carried: Any) -> None:
    def counting(number: int, values: Any, report: Any) -> Any:
        carried.append(number)
        return carry(number, values, report)

    study: Any = Planned(21, sampler="random")
    Worker(study, open_study(name, Path(folder), url), threading.Event()).work(counting)


def test_two_processes_share_a_study(server: str, tmp_path: Path) -> None:
    """Every trial once, none lost, and the same trials as one worker makes with a journal."""
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        carried = manager.list()
        processes = [context.Process(target=_work, args=(server, str(tmp_path), "shared", carried)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0]
        assert sorted(carried) == list(range(21))
    study: Any = Planned(21, sampler="random")
    found = Worker(study, open_study("shared", tmp_path, server), threading.Event()).work(carry)
    assert outline(found) == outline(worker(tmp_path, Planned(21, sampler="random")).work(carry))


def _open(url: str, folder: str, barrier: Any) -> None:
    barrier.wait()
    open_study("first", Path(folder), url)


def test_a_new_database_may_be_opened_by_several_at_once(server: str, tmp_path: Path) -> None:
    """Making the tables is a race that all of them must survive."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        for place in range(3):
            connection.execute(f"create database fresh{place}")
    context = multiprocessing.get_context("fork")
    for place in range(3):
        barrier, url = context.Barrier(3), server.replace("/postgres?", f"/fresh{place}?")
        processes = [context.Process(target=_open, args=(url, str(tmp_path), barrier)) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0, 0]


def test_a_search_that_learns_is_the_same_in_a_database(server: str, tmp_path: Path) -> None:
    study: Any = Planned(14, sampler="tpe")
    found = Worker(study, open_study("learning", tmp_path, server), threading.Event()).work(carry)
    assert outline(found) == outline(worker(tmp_path, Planned(14, sampler="tpe")).work(carry))
