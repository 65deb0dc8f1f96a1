"""The store: what was run, by whom, and what came of it, in plain files that several machines may share.

A run is a folder named by its key. What happened to it is an append-only log in which every entry can be
created only once, so claiming a run, taking it over and publishing its result are races with one winner each.
Everything else (the index, the journals) can be lost and is made again from the folders.
"""

from bench.store.access import store_path
from bench.store.claims import Claim
from bench.store.store import Store

__all__ = ["Claim", "Store", "store_path"]
