"""Named random streams: every random number is a function of where it is used, never of what came before.

A stream is a name and its coordinates, for example ("order", task, replicate, epoch). Two methods that ask
for the same coordinates get the same numbers; nothing that runs in between can shift them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bench.core.canonical import canonical

if TYPE_CHECKING:
    import numpy as np

STREAMS = ("split", "order", "augmentation", "dropout", "init", "method", "proposal", "twin")


def seed(stream: str, *coordinates: str | int | None) -> int:
    """The 63-bit seed of a stream at its coordinates."""
    if stream not in STREAMS:
        raise ValueError(f"{stream!r} is not a named stream; the streams are {', '.join(STREAMS)}")
    text = canonical([stream, *coordinates])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(stream: str, *coordinates: str | int | None) -> np.random.Generator:
    """A numpy generator (Philox, whose output numpy keeps stable) at the stream's coordinates."""
    import numpy as np

    return np.random.Generator(np.random.Philox(key=seed(stream, *coordinates)))
