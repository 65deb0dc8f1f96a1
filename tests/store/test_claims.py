"""Claims: one holder at a time, one publication, takeover of what is dead and of nothing else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.store import Claim, Store, claims, events, liveness


def claimed(store: Store, key: str, retry: bool = False) -> Claim:
    claim = store.claim(key, retry)
    assert claim is not None
    return claim


def rewrite(store: Store, key: str, number: int, **changes: Any) -> None:
    """Change an entry of a run's log, as if another process had written it."""
    path = events.path_of(store._run(key) / "events", number)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def make_old(store: Store, key: str, seconds: float) -> None:
    run = store._run(key)
    for path in (run / "beat", *(run / "events").iterdir()):
        os.utime(path, (time.time() - seconds,) * 2)


def test_from_queued_to_done(store: Store, enqueue: Callable[..., str]) -> None:
    key = enqueue()
    assert (store.state(key), store.record(key), store.folder(key)) == ("queued", None, None)
    with claimed(store, key) as claim:
        assert store.state(key) == "running"
        assert store.claim(key) is None
        assert claim.attempt == 1
        assert claim.previous is None
        assert list(claim.folder.iterdir()) == []
        assert claim.publish({"answer": 42})
        assert not claim.publish({"answer": 43})
        assert not claim.fail({}, "late")
        assert not claim.release()
    assert (store.state(key), store.record(key), store.folder(key)) == ("done", {"answer": 42}, claim.folder)
    assert store.claim(key) is None
    assert store.claim(key, retry=True) is None


def test_a_failure_is_tried_again_only_on_demand(store: Store, enqueue: Callable[..., str]) -> None:
    key = enqueue()
    with claimed(store, key) as claim:
        assert claim.fail({"cost": 1}, "Traceback\n  somewhere\nValueError: bad\n")
    assert store.state(key) == "failed"
    assert store.record(key) is None
    assert (store.error(key) or "").startswith("Traceback")
    assert store.claim(key) is None
    again = claimed(store, key, retry=True)
    assert again.attempt == 2
    assert again.folder != claim.folder
    assert list(again.folder.iterdir()) == []
    assert again.publish({})
    assert store.error(key) is None


@pytest.mark.parametrize("explicitly", [True, False])
def test_released_work_is_gone_on_with(store: Store, enqueue: Callable[..., str], explicitly: bool) -> None:
    key = enqueue()
    with pytest.raises(KeyboardInterrupt), claimed(store, key) as claim:
        (claim.folder / "checkpoint").mkdir()
        (claim.folder / "checkpoint" / "run.ckpt").touch()
        if explicitly:
            assert claim.release()
        raise KeyboardInterrupt
    assert store.state(key) == "queued"
    second = claimed(store, key)
    assert second.previous == claim.folder
    assert second.release()
    assert claimed(store, key).previous == claim.folder  # the second left no checkpoint


def test_claiming_what_is_not_there_is_an_error(store: Store) -> None:
    with pytest.raises(UserError, match="No run"):
        store.claim("0" * 64)
    with pytest.raises(UserError, match="64 hexadecimal"):
        store.claim("../../etc")


KILLED = """
import sys, time
from bench.store import Store
claim = Store(sys.argv[1]).claim(sys.argv[2])
(claim.folder / "checkpoint").mkdir()
(claim.folder / "checkpoint" / "run.ckpt").write_text("step 7")
print("claimed", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("reaped", [True, False])
def test_what_a_killed_process_held_can_be_claimed_at_once(
    store: Store, enqueue: Callable[..., str], spawn: Callable[..., Any], reaped: bool
) -> None:
    key = enqueue()
    with spawn(KILLED, store.path, key) as process:
        assert process.stdout.readline() == "claimed\n"
        assert store.state(key) == "running"
        assert store.claim(key) is None
        process.kill()
        if reaped:
            process.wait()
        else:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and a zombie
        assert store.state(key) == "stale"
        assert store.rows()[0]["state"] == "stale"
        claim = claimed(store, key)
    assert claim.attempt == 2
    assert claim.previous is not None
    assert (claim.previous / "checkpoint" / "run.ckpt").read_text() == "step 7"
    assert claim.publish({})
    assert store.state(key) == "done"


def test_a_reused_process_number_is_not_the_holder(store: Store, enqueue: Callable[..., str]) -> None:
    key = enqueue()
    claimed(store, key)
    rewrite(store, key, 1, started="1")
    assert store.state(key) == "stale"


def test_a_host_of_the_same_name_is_judged_by_its_beat(store: Store, enqueue: Callable[..., str]) -> None:
    key = enqueue()
    claimed(store, key)
    rewrite(store, key, 1, machine="another container", pid=2**22 + 1)  # no such process here
    assert store.state(key) == "running"
    make_old(store, key, claims.STALE_SECONDS + 5)
    assert store.state(key) == "stale"


def test_another_host_is_alive_while_it_beats(store: Store, enqueue: Callable[..., str]) -> None:
    key = enqueue()
    claimed(store, key)
    rewrite(store, key, 1, host="elsewhere")
    assert store.state(key) == "running"
    assert store.claim(key) is None
    make_old(store, key, claims.STALE_SECONDS - 20)
    assert store.state(key) == "running"
    make_old(store, key, claims.STALE_SECONDS + 5)
    assert store.state(key) == "stale"
    (store._run(key) / "beat").touch()
    assert store.state(key) == "running"


def test_the_local_clock_does_not_matter(
    store: Store, enqueue: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = enqueue()
    claimed(store, key)
    rewrite(store, key, 1, host="elsewhere")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert store.state(key) == "running"
    assert not list(store._run(key).glob(".clock*"))


def test_a_zombie_can_neither_publish_nor_fail_nor_beat(
    store: Store, enqueue: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.02)
    key = enqueue()
    with claimed(store, key) as zombie:
        time.sleep(0.08)
        rewrite(store, key, 1, started="1")
        heir = claimed(store, key)
        time.sleep(0.08)
        make_old(store, key, 500)
        time.sleep(0.08)
        assert liveness.age(store._run(key) / "beat") > 400
        assert zombie.lost
        assert not heir.lost
        assert not zombie.publish({"from": "zombie"})
        assert not zombie.fail({}, "error")
        assert not zombie.release()
    assert store.state(key) == "running"  # leaving the block gave nothing back either
    assert heir.publish({"from": "heir"})
    assert store.record(key) == {"from": "heir"}
    assert not zombie.publish({"from": "zombie"})
    assert store.record(key) == {"from": "heir"}


def test_a_zombie_cannot_publish_into_a_run_that_was_removed_and_claimed_anew(
    store: Store, enqueue: Callable[..., str]
) -> None:
    key = enqueue()
    zombie = claimed(store, key)
    rewrite(store, key, 1, started="1")
    store.remove([key])
    assert zombie.lost
    assert not zombie.publish({})
    assert not zombie.release()
    enqueue()
    heir = claimed(store, key)
    assert zombie.lost
    assert not zombie.publish({"from": "zombie"})
    assert heir.publish({"from": "heir"})
    assert store.record(key) == {"from": "heir"}


def test_a_holder_beats(store: Store, enqueue: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.02)
    key = enqueue()
    with claimed(store, key) as claim:
        make_old(store, key, 500)
        deadline = time.monotonic() + 5
        while liveness.age(store._run(key) / "beat") > 400:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert claim.publish({})


def test_a_torn_entry_holds_the_run_until_it_is_old(store: Store, enqueue: Callable[..., str]) -> None:
    key = enqueue()
    claim = claimed(store, key)
    torn = events.path_of(store._run(key) / "events", 2)
    torn.write_text("")
    assert store.state(key) == "running"
    assert store.claim(key) is None
    assert not claim.publish({})  # it may be another's takeover in the making
    os.utime(torn, (time.time() - claims.STALE_SECONDS - 5,) * 2)
    assert store.state(key) == "stale"
    heir = claimed(store, key)
    assert heir.attempt > claim.attempt
    assert heir.publish({"a": 1})
    assert store.record(key) == {"a": 1}


RACE = """
import sys, time, random
from pathlib import Path
from bench.store import Store, claims
store, me = Store(sys.argv[1]), sys.argv[2]
random.seed(me)
print("ready", flush=True)
while not (store.path / "go").exists():
    pass
for key in sorted(store.keys()):
    claim = store.claim(key, retry=True)
    if claim is None:
        continue
    try:  # whoever else holds it makes this fail
        (store.path / "held" / key).touch(exist_ok=False)
    except FileExistsError:
        print("both", key)
    (store.path / "held" / key).unlink()
    end = random.choice(["publish", "publish", "fail", "release"])
    ways = {"publish": lambda: claim.publish({"by": me}), "fail": lambda: claim.fail({}, "x")}
    won = ways.get(end, claim.release)()
    print(end if won else "lost", key)
"""


def test_two_processes_never_both_get_a_run_nor_publish_it_twice(
    store: Store, enqueue: Callable[..., str], spawn: Callable[..., Any]
) -> None:
    keys = {enqueue(number) for number in range(200)}
    (store.path / "held").mkdir()
    racers = [spawn(RACE, store.path, me) for me in "ab"]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    (store.path / "go").touch()
    words = [line.split() for racer in racers for line in racer.communicate(timeout=60)[0].splitlines()]
    assert all(racer.returncode == 0 for racer in racers)
    assert {word for word, _ in words} <= {"publish", "fail", "release"}  # never "both" or "lost"
    published = [key for word, key in words if word == "publish"]
    assert len(published) == len(set(published))
    assert {key for _, key in words} == keys
    assert {key for key in keys if store.state(key) == "done"} == set(published)


TAKEOVER = """
import sys
from bench.store import Store
store = Store(sys.argv[1])
print("ready", flush=True)
while not (store.path / "go").exists():
    pass
print(*[key for key in sorted(store.keys()) if store.claim(key)])
"""


def test_of_two_who_take_over_a_dead_claim_one_wins(
    store: Store, enqueue: Callable[..., str], spawn: Callable[..., Any]
) -> None:
    keys = {enqueue(number) for number in range(40)}
    for key in keys:
        claimed(store, key)
        rewrite(store, key, 1, started="1")
    racers = [spawn(TAKEOVER, store.path) for _ in "ab"]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    (store.path / "go").touch()
    # A racer that ends leaves its claims stale; so both must be read as they were taken, from the logs.
    taken = [set(racer.communicate(timeout=60)[0].split()) for racer in racers]
    assert taken[0] | taken[1] == keys
    for key in taken[0] & taken[1]:  # taken by the second only after the first had ended
        first, second = (events.read(store._run(key) / "events", number) for number in (2, 3))
        assert first["pid"] != second["pid"]
    for key in taken[0] ^ taken[1]:
        assert events.last(store._run(key) / "events").number == 2


def test_a_finished_run_is_recognised_fast(store: Store, finish: Callable[..., str]) -> None:
    key = finish()
    fresh = Store(store.path)
    begin = time.perf_counter()
    for _ in range(100):
        assert fresh.state(key) == "done"
        assert fresh.record(key)
    assert (time.perf_counter() - begin) / 100 < 0.005


def test_an_unwritable_run_is_one_sentence(
    store: Store, enqueue: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = enqueue()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(events, "append", refuse)
    with pytest.raises(UserError, match="cannot be written: permission denied"):
        store.claim(key)
    assert Path(store.path).exists()
    assert store.state(key) == "queued"


def test_a_claim_that_cannot_make_its_folder_is_given_back(
    store: Store, enqueue: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = enqueue()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "touch", full)
        with pytest.raises(UserError, match="no space left"):
            store.claim(key)
    assert store.state(key) == "queued"
    assert claimed(store, key).attempt == 2
