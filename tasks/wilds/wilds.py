"""WILDS' official splits, read from its archives (Koh et al. WILDS. 2021. arXiv:2012.07421).

Each function takes what the archive unpacked to and gives `{split: {column: values}}` with WILDS' own names of splits:
train, val (out of distribution), id_val, test (out of distribution), id_test. Images are paths; none is opened here.
The column `group` holds the groups of rows that a metric looks at: a number, -1 for none, or membership (groups,).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Load = Callable[[str], Mapping[str, Any]]
Row = dict[str, Any]
Splits = dict[str, dict[str, Any]]

IDENTITIES = ("male", "female", "LGBTQ", "christian", "muslim", "other_religions", "black", "white")
AMAZON_SPLITS = ("train", "val", "id_val", "test", "id_test")  # their numbers in splits/user.csv
HALF = 0.5  # an identity, or toxicity, is what at least half of the annotators see


class Images(Sequence[Path]):
    """Paths, made when they are asked for: the folder they share is kept once."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, row: Any) -> Any:
        return self._folder / self._names[row]


def camelyon17(load: Load) -> Splits:
    """`image`, `label` (tumour in the centre), `domain` (hospital 0..4). Hospital 1 is val, 2 is test."""
    file = _file(load, "metadata.csv")

    def rows() -> Iterator[tuple[str, Row]]:
        for row in _csv(file):
            hospital = int(row["center"])
            split = {1: "val", 2: "test"}.get(hospital, "id_val" if int(float(row["split"])) else "train")
            place = f"patient_{row['patient']}_node_{row['node']}"
            image = f"patches/{place}/patch_{place}_x_{row['x_coord']}_y_{row['y_coord']}.png"
            yield split, {"image": image, "label": int(row["tumor"]), "domain": str(hospital)}

    return _images(rows(), file.parent)


def iwildcam(load: Load) -> Splits:
    """`image`, `label` (one of 182 species), `domain` (the camera trap)."""
    file = _file(load, "metadata.csv")
    rows = (
        (row["split"], {"image": row["filename"], "label": int(row["y"]), "domain": row["location_remapped"]})
        for row in _csv(file)
    )
    return _images(rows, file.parent / "train")


def fmow(load: Load) -> Splits:
    """`image`, `label` (a category's name), `domain` (the year), `group` (the region; -1 where it is none of the five).

    Out of distribution are the years 2013 to 2015 (val) and from 2016 on (test), and of those only the images of the
    original validation and test parts; the sequestered part is left out.
    """
    file = _file(load, "rgb_metadata.csv")
    regions = {row["alpha-3"]: row["region"] for row in _csv(_file(load, "country_code_mapping.csv"))}
    numbers = {name: place for place, name in enumerate(("Africa", "Americas", "Asia", "Europe", "Oceania"))}

    def rows() -> Iterator[tuple[str, Row]]:
        for place, row in enumerate(_csv(file)):
            year, part = int(row["timestamp"][:4]), row["split"]
            if split := _fmow_split(year, part):
                yield (
                    split,
                    {
                        "image": f"rgb_img_{place}.png",
                        "label": row["category"],
                        "domain": str(year),
                        "group": numbers.get(regions.get(row["country_code"], ""), -1),
                    },
                )

    return _images(rows(), file.parent / "images")


def _fmow_split(year: int, part: str) -> str | None:
    """Before 2013 an image stays in its original part; later ones serve only where their part matches the period."""
    if year < 2013:
        return {"train": "train", "val": "id_val", "test": "id_test"}.get(part)
    wanted = "val" if year < 2016 else "test"
    return wanted if part == wanted else None


def civilcomments(load: Load) -> Splits:
    """`text`, `label` (toxic), `domain` (black or other), `group` uint8 (16,): 8 identities x (not toxic, toxic)."""
    import numpy as np

    def rows() -> Iterator[tuple[str, Row]]:
        for row in _csv(_file(load, "all_data_with_identities.csv")):
            toxic = _number(row["toxicity"]) >= HALF
            group = np.zeros(2 * len(IDENTITIES), dtype=np.uint8)
            for place, identity in enumerate(IDENTITIES):
                group[2 * place + toxic] = _number(row[identity]) >= HALF
            domain = "black" if _number(row["black"]) >= HALF else "other"
            text = row["comment_text"]
            yield row["split"], {"text": text, "label": int(toxic), "domain": domain, "group": group}

    return _gathered(rows())


def amazon(load: Load) -> Splits:
    """`text`, `label` 0..4 (one star less), `domain` (the reviewer's id), `group` (the reviewer's number)."""
    numbers: dict[str, int] = {}

    def rows() -> Iterator[tuple[str, Row]]:
        chosen = [int(float(row["split"])) for row in _csv(_file(load, "user.csv"))]
        for text, reviewer, stars, split in _reviews(_file(load, "reviews.csv"), chosen):
            number = numbers.setdefault(reviewer, len(numbers))
            row = {"text": text, "label": int(float(stars)) - 1, "domain": reviewer, "group": number}
            yield AMAZON_SPLITS[split], row

    return _gathered(rows())


def _reviews(file: Path, chosen: Sequence[int]) -> Iterator[tuple[str, str, Any, int]]:
    """Text, reviewer, stars and split of the chosen rows (not -1); block by block, as the file holds gigabytes."""
    import numpy as np
    import pyarrow
    from pyarrow import csv as arrow

    wanted = np.array(chosen)
    text = {"reviewText": pyarrow.string(), "reviewerID": pyarrow.string(), "overall": pyarrow.string()}
    blocks = arrow.open_csv(
        file,
        read_options=arrow.ReadOptions(block_size=1 << 26),
        parse_options=arrow.ParseOptions(newlines_in_values=True),
        convert_options=arrow.ConvertOptions(include_columns=list(text), column_types=text, strings_can_be_null=False),
    )
    done = 0
    for block in blocks:
        here = wanted[done : done + len(block)]
        if len(here) < len(block):
            break
        kept: NDArray[np.int64] = np.flatnonzero(here >= 0)
        columns = [block.column(name).take(pyarrow.array(kept)).to_pylist() for name in text]
        yield from zip(*columns, here[kept].tolist(), strict=True)
        done += len(block)
    if done != len(wanted):
        raise UserError(f"{file.name} and splits/user.csv are not of the same length ({len(wanted)} rows).")


def _file(load: Load, name: str) -> Path:
    """The unpacked file of that name, the least deep of several; UserError when there is none."""
    found = [path for path in load("")["file"] if path.name == name]
    if not found:
        raise UserError(f"The archive holds no {name}; it is not the one that WILDS publishes.")
    least: Path = min(found, key=lambda path: (len(path.parts), path))
    return least


def _csv(file: Path) -> Iterator[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        yield from csv.DictReader(opened)


def _number(text: str) -> float:
    """A share of the annotators; nothing stands for none of them."""
    return float(text or 0)


def _gathered(rows: Iterable[tuple[str, Row]]) -> Splits:
    """Rows with their split -> columns of each split."""
    splits: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for split, row in rows:
        for name, value in row.items():
            splits[split][name].append(value)
    return {split: dict(columns) for split, columns in splits.items()}


def _images(rows: Iterable[tuple[str, Row]], folder: Path) -> Splits:
    splits = _gathered(rows)
    return {split: {**columns, "image": Images(folder, columns["image"])} for split, columns in splits.items()}
