"""Archives of images that lie in one folder per domain and class, or in one folder beside their annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.errors import UserError

Load = Callable[[str], Mapping[str, Any]]
Splits = dict[str, dict[str, Any]]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


def vlcs(load: Load, domains: Sequence[str]) -> Splits:
    """Split `all` of the files `DOMAIN/CLASS/NAME.jpg`: `image` (a path), `label` (a class name), `domain`."""
    return {"all": _laid_out(load("")["file"], {name: name for name in domains})}


def terra(load: Load, locations: Mapping[str, str], categories: Sequence[str]) -> Splits:
    """Split `all` of the camera traps at `locations` (domain -> the location's number), as DomainBed takes them.

    Reads the images beside the annotations of Beery et al. (COCO Camera Traps: any number of .json files), or what
    DomainBed makes of them (`location_NUMBER/CATEGORY/NAME.jpg`). An image with two categories stands twice.
    """
    files: Sequence[Path] = load("")["file"]
    annotations = [path for path in files if path.suffix == ".json"]
    if annotations:
        return {"all": _annotated(files, annotations, locations, categories)}
    made = _laid_out(files, {f"location_{number}": domain for domain, number in locations.items()})
    if not made["image"]:
        raise UserError(
            "The archive holds neither annotations (.json) nor folders location_NUMBER/CATEGORY; Terra Incognita's "
            "annotations are published apart from its images (see the task's `obtain`)."
        )
    return {"all": made}


def _laid_out(files: Sequence[Path], names: Mapping[str, str]) -> dict[str, list[Any]]:
    """Rows of the files FOLDER/CLASS/NAME whose folder is in `names` (folder -> domain), in order of their paths."""
    rows = [path for path in files if path.suffix.lower() in SUFFIXES and path.parent.parent.name in names]
    return {
        "image": rows,
        "label": [path.parent.name for path in rows],
        "domain": [names[path.parent.parent.name] for path in rows],
    }


def _annotated(
    files: Sequence[Path], annotations: Sequence[Path], locations: Mapping[str, str], categories: Sequence[str]
) -> dict[str, list[Any]]:
    """One row for each image and category, ordered by domain, category and file name."""
    paths = {path.name: path for path in files if path.suffix.lower() in SUFFIXES}
    domains = {str(number): domain for domain, number in locations.items()}
    names, images, found = {}, {}, []
    for file in annotations:
        read = json.loads(file.read_text(encoding="utf-8"))
        names.update({one["id"]: one["name"] for one in read["categories"]})
        images.update({one["id"]: one for one in read["images"]})
        found += read["annotations"]
    rows = set()
    for one in found:
        image, category = images.get(one["image_id"]), names[one["category_id"]]
        if image is not None and str(image["location"]) in domains and category in categories:
            rows.add((domains[str(image["location"])], category, image["file_name"]))
    missing = sorted({name for _, _, name in rows} - set(paths))
    if missing:
        raise UserError(f"{len(missing)} annotated images are not in the archive, {missing[0]} among them.")
    ordered = sorted(rows)
    return {
        "image": [paths[name] for _, _, name in ordered],
        "label": [category for _, category, _ in ordered],
        "domain": [domain for domain, _, _ in ordered],
    }
