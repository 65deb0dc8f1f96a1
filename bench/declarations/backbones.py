"""What a task's `backbone` names: a declared backbone, a model of a library, or a local folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError
from bench.declarations.schema import BACKBONE, is_plain_name, split_meta
from bench.declarations.wording import quoted

if TYPE_CHECKING:
    from bench.declarations.catalog import Catalog

_LIBRARIES = ("timm", "transformers")
_BY_MODALITY = {"image": "timm", "text": "transformers"}


@dataclass(frozen=True)
class ResolvedBackbone:
    """`body` enters the run's identity (no path is in it); `home` is the declaration's folder, or the local
    weights'.
    """

    body: dict[str, Any]
    meta: dict[str, Any]
    home: Path | None
    path: Path | None


def resolve_backbone(catalog: Catalog, name: str, modality: str, where: str) -> ResolvedBackbone:
    """The backbone `name` for a task of `modality`; a UserError at `where` when it cannot be one."""
    if name in catalog.backbones():
        declaration = catalog.backbone(name)
        body, meta = split_meta(declaration.body, BACKBONE)
        if body["modality"] != modality:
            raise UserError(
                f"{where}: the backbone {quoted(name)} reads {body['modality']}, and the task's modality is {modality}."
            )
        return ResolvedBackbone({"name": name, **body}, meta, declaration.home, declaration.path)
    prefix, colon, rest = name.partition(":")
    if colon:
        if prefix not in _LIBRARIES or not is_plain_name(rest):
            raise UserError(f'{where}: expected "timm:NAME" or "transformers:NAME", found the backbone {quoted(name)}.')
        return ResolvedBackbone(_reference(rest, prefix, modality), {}, None, None)
    if folder := _local(name, where):
        return ResolvedBackbone(_reference("local", "local", modality), {}, folder, None)
    if not is_plain_name(name):
        raise UserError(f"{where}: {quoted(name)} can be no backbone; expected a name, OWNER/NAME or a folder.")
    if "/" not in name:
        _refuse_misspelt(name, catalog.backbones(), where)
    library = "timm" if name.startswith("timm/") else _BY_MODALITY.get(modality)
    if library is None:
        known = ", ".join(catalog.backbones()) or "none"
        raise UserError(
            f"{where}: {quoted(name)} is no declared backbone ({known}), and for the modality {modality} no "
            f'library is the usual one; write "timm:{name}" or "transformers:{name}".'
        )
    return ResolvedBackbone(_reference(name, library, modality), {}, None, None)


def _reference(name: str, library: str, modality: str) -> dict[str, Any]:
    """A backbone that no file declares, in the form of one that is."""
    return {
        "name": name,
        "library": library,
        "modality": modality,
        "pool": "default",
        "args": {},
        "targets": {},
    }


def _local(name: str, where: str) -> Path | None:
    """The folder that `name` is a path of, or None when it has not the look of a path."""
    looks = name.startswith((".", "/", "~"))
    try:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder.resolve()
    except (OSError, RuntimeError, ValueError):
        pass
    if looks:
        raise UserError(f"{where}: the backbone {quoted(name)} is a path, and there is no such folder.")
    return None


def _refuse_misspelt(name: str, declared: Iterable[str], where: str) -> None:
    """A word one or two letters away from a declared backbone is a slip, not the name of a model."""
    near = min(declared, key=lambda other: (edit_distance(name, other), other), default=None)
    if near is not None and edit_distance(name, near) <= 2:
        raise UserError(
            f'{where}: there is no backbone {quoted(name)}. Did you mean "{near}"? '
            f'If a library has it, write "timm:{name}" or "transformers:{name}".'
        )


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's distance: insertions, deletions and substitutions that turn `one` into `other`."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (left != right))
    return row[-1]
