"""What data and weights are, for the key: their source's identity, and a digest of the bytes where they are local."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.core.canonical import canonical
from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.content import file_digest, folder_digest
from bench.data.repository import resolve_revision
from bench.data.sources import Identity, source

TWIN = 1  # raise when the synthetic data change

_WEIGHTS = (".safetensors", ".json", ".txt", ".model")


class Known:
    """The identities of one plan's data and weights, each found once: a folder is not read again for every run."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._found: dict[str, Identity] = {}

    def data(self, task: Mapping[str, Any], home: Path, twin: bool) -> Identity:
        """The fingerprint of a task's data."""
        name = canonical(["data", dict(task["source"]), dict(task.get("twin") or {}), str(home), twin])
        if name not in self._found:
            self._found[name] = data_identity(task, home, self._access, twin)
        return self._found[name]

    def weights(self, backbone: Mapping[str, Any], home: Path | None, twin: bool) -> Identity:
        """The fingerprint of a backbone's weights."""
        name = canonical(["weights", dict(backbone), str(home), twin])
        if name not in self._found:
            self._found[name] = weights_identity(backbone, home, self._access, twin)
        return self._found[name]


def data_identity(task: Mapping[str, Any], home: Path, access: Access, twin: bool) -> Identity:
    """The fingerprint of a task's data."""
    if twin:
        return Identity({"twin": TWIN, "rows": (task.get("twin") or {}).get("rows")})
    return source(task["source"], home, access).identity()


def weights_identity(backbone: Mapping[str, Any], home: Path | None, access: Access, twin: bool) -> Identity:
    """The fingerprint of a backbone's weights."""
    if twin:
        return Identity({"twin": TWIN, "args": backbone.get("twin")})
    library, name = backbone["library"], str(backbone.get("name"))
    if library == "local":
        assert home is not None
        return Identity({"content": _content(home, access)})
    if backbone.get("weights"):
        if home is not None and (home / str(backbone["weights"])).is_dir():
            return Identity({"content": _content(home / str(backbone["weights"]), access)})
        if home is None:
            raise UserError(f"The backbone {name} declares weights beside its YAML file, and has none.")
        file = home / str(backbone["weights"])
        if not file.is_file():
            raise UserError(
                f"The backbone {backbone['name']} declares weights: {backbone['weights']}, and {file} is absent."
            )
        return Identity({"sha256": file_digest(file, access)})
    if library in ("file", "monai", "mlp"):
        return Identity({"weights": None})
    repository = name if "/" in name or library == "transformers" else f"timm/{name}"
    mirrored = access.mirrored("models", *repository.split("/"))
    if mirrored is not None:
        return Identity(
            {"hub": repository, "content": _content(mirrored, access)}, (f"{repository} comes from a mirror",)
        )
    if backbone.get("revision"):
        return Identity({"hub": repository, "revision": backbone["revision"]})
    if library == "timm" and "/" not in name and "." not in name:
        # A name without a tag means the default weights of the installed release of timm.
        return Identity({"timm": name, "version": metadata.version("timm")})
    return Identity({"hub": repository, "revision": resolve_revision("model", repository, access)})


def _content(folder: Path, access: Access) -> str:
    files = [path for path in folder.iterdir() if path.suffix in _WEIGHTS]
    if not any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        raise UserError(f"{folder} holds no model.safetensors; weights in pickled formats are not opened.")
    return folder_digest(folder, files, access)
