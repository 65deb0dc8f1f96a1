"""Where bytes may come from: the mirror, the cache, the network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path

from bench.core.errors import UserError


@dataclass(frozen=True)
class Access:
    """How data and weights may be reached. `mirror` is asked first; `offline` forbids the network."""

    cache: Path
    mirror: Path | None = None
    offline: bool = False

    @classmethod
    def from_environment(cls, offline: bool = False) -> Access:
        """Read BENCH_CACHE, BENCH_MIRROR and the hub's own HF_HUB_OFFLINE."""
        home = os.environ.get("BENCH_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "bench"
        mirror = os.environ.get("BENCH_MIRROR")
        folder = Path(mirror).expanduser().resolve() if mirror else None
        if folder is not None and not folder.is_dir():
            raise UserError(f"BENCH_MIRROR is {mirror}, and there is no such folder.")
        offline = offline or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        return cls(Path(home).expanduser().resolve(), folder, offline)

    def mirrored(self, *parts: str) -> Path | None:
        """The mirror's file or folder under `parts`, when it has one."""
        if self.mirror is None:
            return None
        path = self.mirror.joinpath(*parts)
        return path if path.exists() else None

    def writable_cache(self, *parts: str) -> Path:
        """A folder in the cache, made when absent; a UserError when it cannot be."""
        folder = self.cache.joinpath(*parts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(EACCES, os.strerror(EACCES))
        except OSError as error:
            raise UserError(
                f"The cache {self.cache} cannot be written ({error.strerror}); set BENCH_CACHE to a folder that can."
            ) from None
        return folder


def no_network(what: str, place: str) -> UserError:
    """The sentence for data that is needed, is not here, and may not be fetched."""
    return UserError(
        f"{what} is not in the mirror or the cache, and --offline forbids fetching it; run once without "
        f"--offline, or put it in a mirror as {place} and set BENCH_MIRROR."
    )
