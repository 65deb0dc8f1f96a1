"""A folder of images on this machine: `SPLIT/CLASS/*.png`, or images beside masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.core.canonical import digest
from bench.core.errors import UserError, nearest
from bench.data.access import Access
from bench.data.content import folder_digest
from bench.data.sources import Identity, Rows, Source

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
KEYS = ("images", "masks")


def folder(declared: Mapping[str, Any], home: Path, access: Access) -> Source:
    """`{folder: PATH}` of class folders, `{folder: PATH, images: NAME, masks: NAME}` of images beside masks."""
    return (ClassFolders if _subfolders(declared) is None else Pairs)(declared, home, access)


class ClassFolders:
    """`{folder: PATH}`, relative to the declaration; columns `image` (a path) and `label` (the class folder's name)."""

    def __init__(self, declared: Mapping[str, Any], home: Path, access: Access) -> None:
        self.root = _root(declared, home)
        self.access = access

    def identity(self) -> Identity:
        files = self._files("*")
        if not files:
            raise UserError(f"{self.root} holds no images; expected SPLIT/CLASS/NAME.png.")
        return Identity({"folder": folder_digest(self.root, files, self.access)})

    def _files(self, split: str) -> list[Path]:
        return _ordered(self.root, (path for path in self.root.glob(f"{split}/*/*") if _is_image(path)))

    def download(self) -> int:
        return 0

    def load(self, split: str) -> Rows:
        folder = self.root / split
        if not folder.is_dir():
            there = sorted(path.name for path in self.root.iterdir() if path.is_dir())
            raise UserError(f"{self.root} has no split folder {split!r}; it has {', '.join(there) or 'none'}.")
        files = self._files(split)
        return Rows({"image": files, "label": [path.parent.name for path in files]})


class Pairs:
    """`{folder: PATH, images: NAME, masks: NAME}`: columns `image` and `mask`, paths of files with the same stem.

    They lie in `PATH/SPLIT/images` and `PATH/SPLIT/masks`, or in `PATH/images` and `PATH/masks`, which is one split
    called `all`. Hidden files and files that are no images are passed over.
    """

    def __init__(self, declared: Mapping[str, Any], home: Path, access: Access) -> None:
        self.root = _root(declared, home)
        self.subfolders = _subfolders(declared) or ("", "")
        self.access = access

    def identity(self) -> Identity:
        """Of all splits' images and masks; whether they make pairs is asked when a split is loaded."""
        parents = [parent / name for parent in self._splits().values() for name in self.subfolders]
        files = [path for parent in parents for path in _images(parent)]
        if not files:
            raise UserError(f"{self.root} holds no images; {self._expected()}.")
        return Identity({"folder": folder_digest(self.root, files, self.access)})

    def download(self) -> int:
        return 0

    def load(self, split: str) -> Rows:
        splits = self._splits()
        if split not in splits:
            raise UserError(f"source.folder: {self.root} has no split {split!r}; " + self._there(split, splits))
        images, masks = (
            self._by_stem(splits[split], key, name) for key, name in zip(KEYS, self.subfolders, strict=True)
        )
        for have, lack, which in ((images, masks, KEYS), (masks, images, KEYS[::-1])):
            alone = sorted(have.keys() - lack.keys())
            if alone:
                raise UserError(self._alone(splits[split], [have[stem].name for stem in alone], *which))
        files = _ordered(self.root, images.values())
        return Rows({"image": files, "mask": [masks[path.stem] for path in files]})

    def _splits(self) -> dict[str, Path]:
        """Split -> the folder that holds its two subfolders."""
        found = {path.name: path for path in sorted(self.root.iterdir()) if path.is_dir() and self._holds(path)}
        if not self._holds(self.root):
            return found
        for name in self.subfolders:
            found.pop(name, None)
        if found:
            raise UserError(
                f"source.folder: {self.root} holds images both in itself and in {', '.join(found)}; which splits there "
                "are cannot be told. Move one of them elsewhere."
            )
        return {"all": self.root}

    def _holds(self, folder: Path) -> bool:
        return any((folder / name).is_dir() for name in self.subfolders)

    def _by_stem(self, folder: Path, key: str, name: str) -> dict[str, Path]:
        """Stem -> file of one subfolder; UserError where it is missing, is empty, or holds a stem twice."""
        folder = folder / name
        if not folder.is_dir():
            there = sorted(path.name for path in folder.parent.iterdir() if path.is_dir())
            raise UserError(
                f"source.{key} is {name}, and {folder} is no folder; {folder.parent.name} has {', '.join(there)}."
                + nearest(name, there)
            )
        found: dict[str, Path] = {}
        for path in _images(folder):
            if path.stem in found:
                raise UserError(
                    f"source.{key}: {folder} holds both {found[path.stem].name} and {path.name}; images and masks are "
                    "matched by their names without the suffix, so remove one."
                )
            found[path.stem] = path
        if not found:
            raise UserError(f"source.{key}: {folder} holds no images ({', '.join(SUFFIXES)}).")
        return found

    def _alone(self, folder: Path, names: list[str], have: str, lack: str) -> str:
        """The sentence on files of one kind that lack a partner of the other."""
        subfolders = dict(zip(KEYS, self.subfolders, strict=True))
        more = f" ({len(names)} {have} lack one)" if len(names) > 1 else ""
        return (
            f"source.{lack}: {folder / subfolders[have] / names[0]} has no {lack.removesuffix('s')} of the same name "
            f"in {folder / subfolders[lack]}{more}; add it, or remove the {have.removesuffix('s')}."
        )

    def _there(self, split: str, splits: Mapping[str, Path]) -> str:
        if not splits:
            return self._expected() + "."
        if list(splits) == ["all"]:
            return f"its {' and '.join(self.subfolders)} are one split, 'all'."
        return f"it has {', '.join(splits)}.{nearest(split, splits)}"

    def _expected(self) -> str:
        images, masks = self.subfolders
        return f"expected {images}/NAME.png beside {masks}/NAME.png, in it or in a folder for each split"


def _subfolders(declared: Mapping[str, Any]) -> tuple[str, str] | None:
    """The names of the two subfolders; None where the folder is one of classes."""
    given = {key: str(declared[key]) for key in KEYS if declared.get(key) is not None}
    if not given:
        return None
    if len(given) == 1:
        (key,) = given
        (other,) = set(KEYS) - {key}
        raise UserError(f"source.{key} is {given[key]}, and source.{other} is missing; a folder has both or neither.")
    for key, name in given.items():
        if Path(name).name != name or name == "..":
            raise UserError(f"source.{key} is {name!r}; expected the name of a folder, such as {key}.")
    images, masks = given["images"], given["masks"]
    if images == masks:
        raise UserError(f"source.images and source.masks are both {images}; expected two folders.")
    return images, masks


def _root(declared: Mapping[str, Any], home: Path) -> Path:
    root = (home / Path(declared["folder"]).expanduser()).resolve()
    if not root.is_dir():
        raise UserError(f"source.folder is {declared['folder']}, and {root} is no folder.")
    return root


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _images(folder: Path) -> list[Path]:
    """The images of a folder, sorted; none where it is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _is_image(path) and not path.name.startswith("."))


def _ordered(root: Path, files: Iterable[Path]) -> list[Path]:
    """In an order that says nothing of the classes, since a row's place in it is its id."""
    return sorted(files, key=lambda path: digest(path.relative_to(root).as_posix()))


SOURCE = folder
