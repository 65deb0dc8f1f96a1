"""Repositories of the Hugging Face hub: the snapshot of a dataset or a model at a commit."""

from __future__ import annotations

import os
from pathlib import Path

from bench.core.errors import UserError, first_line
from bench.data.access import Access, no_network


def snapshot_here(kind: str, name: str, revision: str | None) -> Path | None:
    """The folder of a repository at a commit in the hub's own cache, when it is there; no network, no import."""
    home = _hub_cache() / f"{kind}s--{name.replace('/', '--')}"
    commit = revision
    if commit is None:
        try:
            commit = (home / "refs" / "main").read_text().strip()
        except OSError:
            return None
    folder = home / "snapshots" / commit
    return folder if folder.is_dir() else None


def resolve_revision(kind: str, name: str, access: Access) -> str:
    """The commit that the hub's main branch points to now, or did when it was last fetched."""
    here = snapshot_here(kind, name, None)
    if here is not None:
        return here.name
    if access.offline:
        raise no_network(f"The {kind} {name}", f"{kind}s/{name}/")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(HfApi().repo_info(name, repo_type=kind, timeout=20).sha)
    except HfHubHTTPError as error:
        raise UserError(f"The hub has no {kind} {name} that can be read: {first_line(error)}") from None
    except Exception as error:
        raise UserError(
            f"The hub cannot be reached for the {kind} {name} ({first_line(error)}); connect, or set BENCH_MIRROR."
        ) from None


def snapshot(kind: str, name: str, revision: str | None, access: Access, patterns: list[str] | None = None) -> Path:
    """The folder of a repository at a commit, fetched when it is not in the hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                name,
                repo_type=kind,
                revision=revision,
                allow_patterns=patterns,
                local_files_only=access.offline,
                cache_dir=_hub_cache(),
            )
        )
    except LocalEntryNotFoundError as error:
        if access.offline:
            raise no_network(f"The {kind} {name}", f"{kind}s/{name}/") from None
        raise UserError(
            f"The hub cannot be reached for the {kind} {name} ({first_line(error)}); connect, or set BENCH_MIRROR."
        ) from None
    except HfHubHTTPError as error:
        raise UserError(f"The hub did not give the {kind} {name} at {revision}: {first_line(error)}") from None
    except OSError as error:
        raise UserError(f"Fetching the {kind} {name} failed: {first_line(error)}") from None


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
