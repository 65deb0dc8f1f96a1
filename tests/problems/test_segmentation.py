"""Segmentation: masks as people keep them, the loss against MONAI's, predictions."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from bench.core.errors import UserError
from bench.problems.segmentation import Segmentation


def problem(classes: int = 3, size: int = 8) -> Segmentation:
    names = ["background", *(f"part {number}" for number in range(1, classes))]
    return Segmentation({"name": "t/cells", "label": "mask", "classes": names, "image": {"size": size, "channels": 1}})


def png(mask: Any, mode: str | None = None) -> bytes:
    image = PIL.Image.fromarray(mask)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, "png")
    return file.getvalue()


def test_masks_in_every_form_are_the_same_numbers(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(3, size=(8, 8)).astype(np.uint8)
    (tmp_path / "mask.png").write_bytes(png(mask))
    palette = PIL.Image.fromarray(mask, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    forms: list[Any] = [
        mask,
        mask[..., None],
        mask.astype(np.int64),
        mask.astype(np.float32),
        PIL.Image.fromarray(mask),
        palette,
        png(mask),
        png(mask, "RGB"),
        {"bytes": png(mask), "path": None},
        tmp_path / "mask.png",
        str(tmp_path / "mask.png"),
        png(mask.astype(np.uint16)),
    ]
    found = problem().encode(forms)
    assert found.dtype == np.uint8
    assert found.shape == (len(forms), 8, 8)
    for one in found:
        np.testing.assert_array_equal(one, mask)


def test_an_array_of_masks_and_something_indexable() -> None:
    masks = np.random.default_rng(0).integers(3, size=(5, 8, 8)).astype(np.uint8)

    class Lazy:
        def __len__(self) -> int:
            return len(masks)

        def __getitem__(self, row: int) -> Any:
            return masks[row]

    np.testing.assert_array_equal(problem().encode(masks), masks)
    np.testing.assert_array_equal(problem().encode(Lazy()), masks)


def test_resizing_takes_the_nearest_pixel_and_mixes_no_classes() -> None:
    mask = np.zeros((16, 24), np.uint8)
    mask[:, 12:] = 2
    (found,) = problem(size=8).encode([mask])
    np.testing.assert_array_equal(found, np.repeat([[0, 0, 0, 0, 2, 2, 2, 2]], 8, 0))
    (found,) = problem(size=32).encode([mask])
    assert set(np.unique(found)) == {0, 2}
    assert (found == 2).mean() == 0.5


def test_black_and_white_masks_of_two_classes() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 2:5] = 1
    for form in (mask * 255, mask.astype(bool), png(mask * 255, "1"), png(mask * 255, "RGB")):
        np.testing.assert_array_equal(problem(2).encode([form])[0], mask)
    np.testing.assert_array_equal(problem(2).encode([np.full((8, 8), 255, np.uint8)])[0], np.ones((8, 8)))


def test_a_value_that_is_no_class_is_named() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[0, 0] = 7
    with pytest.raises(UserError, match="holds the value 7; 3 classes are declared.* 0 to 2"):
        problem().encode([mask])
    with pytest.raises(UserError, match="holds the value 255; 3 classes"):
        problem().encode([(mask > 0).astype(np.uint8) * 255])
    mask[1, 1] = 255
    with pytest.raises(UserError, match="holds the value 255; 2 classes"):
        problem(2).encode([np.where(mask == 7, 1, mask)])
    with pytest.raises(UserError, match=r"0\.5"):
        problem().encode([np.full((8, 8), 0.5)])
    with pytest.raises(UserError, match="-1"):
        problem().encode([np.full((8, 8), -1)])


def test_what_is_no_mask_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be decoded"):
        problem().encode([b"not an image"])
    with pytest.raises(UserError, match="cannot be decoded"):
        problem().encode([tmp_path / "absent.png"])
    colours = np.random.default_rng(0).integers(255, size=(8, 8, 3)).astype(np.uint8)
    with pytest.raises(UserError, match=r"shape \(8, 8, 3\); expected \(height, width\)"):
        problem().encode([colours])
    with pytest.raises(UserError, match="expected \\(height, width\\)"):
        problem().encode([np.zeros(8, np.uint8)])


def test_declarations_that_cannot_be() -> None:
    task = {"name": "t", "image": {"size": 8, "channels": 1}}
    for classes in (["only"], ["a", "a"], [str(number) for number in range(257)]):
        with pytest.raises(UserError, match="2 to 256 different names"):
            Segmentation({**task, "classes": classes})
    with pytest.raises(UserError, match="must be image-segmentation"):
        Segmentation({"name": "t", "classes": ["a", "b"], "text": {}})


@pytest.mark.parametrize("classes", [2, 4])
def test_the_loss_is_monais(classes: int) -> None:
    """Dice per image without the background, with 1 on both sides of the fraction."""
    from monai.losses import DiceCELoss

    drawn = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, classes, 8, 8, generator=drawn, requires_grad=True)
    labels = torch.randint(classes, (3, 8, 8), generator=drawn, dtype=torch.uint8)
    labels[0] = 0
    expected = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, smooth_nr=1.0, smooth_dr=1.0)
    theirs = expected(outputs, labels[:, None].long())
    ours = problem(classes).loss(outputs, labels)
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(torch.autograd.grad(ours, outputs), torch.autograd.grad(theirs, outputs), strict=True):
        torch.testing.assert_close(one, other)


def test_the_loss_of_a_batch_is_the_mean_over_its_images() -> None:
    outputs, labels = torch.randn(4, 3, 8, 8), torch.randint(3, (4, 8, 8))
    alone = [problem().loss(outputs[row : row + 1], labels[row : row + 1]) for row in range(4)]
    torch.testing.assert_close(torch.stack(alone).mean(), problem().loss(outputs, labels))


def test_the_loss_is_in_float32_and_small_where_all_is_right() -> None:
    labels = torch.randint(3, (2, 8, 8))
    outputs = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1) * 50
    found = problem().loss(outputs.bfloat16(), labels)
    assert found.dtype == torch.float32
    assert found.item() < 1e-4
    assert problem().loss(-outputs.float(), labels).item() > 10


def test_predictions_are_the_highest_output_and_background_where_that_is_undefined() -> None:
    outputs = torch.randn(2, 3, 8, 8)
    found = problem().decode(outputs)["mask"]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, outputs.argmax(1).numpy())
    outputs[0, 2, 1, 1], outputs[1, 1, 0, 0] = float("nan"), float("inf")
    broken = problem().decode(outputs)["mask"]
    assert (broken[0, 1, 1], broken[1, 0, 0]) == (0, 0)
    assert (broken != found).sum() <= 2


def test_a_twin_has_every_class_and_fits_the_task() -> None:
    made = problem(5, 16)
    columns, scaled = made.twin(6, np.random.default_rng(0))
    masks = made.encode(columns["mask"])
    assert masks.shape == scaled.shape == (6, 16, 16)
    assert set(np.unique(masks)) == set(range(5))
    np.testing.assert_allclose(scaled, masks / 4)
    again, _ = made.twin(6, np.random.default_rng(0))
    np.testing.assert_array_equal(again["mask"], masks)


def test_what_the_contract_asks_for() -> None:
    made = problem(4)
    labels = np.zeros((3, 8, 8), np.uint8)
    assert (made.outputs(), made.classes(), made.saves) == (4, 4, "mask")
    np.testing.assert_array_equal(made.strata(labels), np.zeros(3))
    assert made.augmented(labels) is labels
    assert made.truth(labels).classes == 4
