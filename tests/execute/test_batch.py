"""What a method sees of a step's rows: cut, chosen, moved."""

from __future__ import annotations

import pytest
import torch

from bench.execute.batch import Batch


def rows(count: int = 10) -> Batch:
    numbers = torch.arange(count)
    inputs = {"words": numbers[:, None].expand(-1, 3), "mask": numbers > 2}
    return Batch(inputs, numbers + 100, numbers % 4, numbers % 3, views=(numbers, -numbers), step=7, epoch=2)


@pytest.mark.parametrize(("most", "sizes"), [(None, [10]), (10, [10]), (9, [5, 5]), (4, [3, 3, 4]), (1, [1] * 10)])
def test_pieces_hold_every_row_once_and_their_shares_add_up(most: int | None, sizes: list[int]) -> None:
    whole = rows()
    pieces = list(whole.pieces(most))
    assert [len(piece) for piece in pieces] == sizes
    assert sum(piece.share for piece in pieces) == pytest.approx(1)
    assert torch.equal(torch.cat([piece.ids for piece in pieces]), whole.ids)
    for piece in pieces:
        assert piece.share == pytest.approx(len(piece) / len(whole))
        assert torch.equal(piece.inputs["words"][:, 0] + 100, piece.ids)
        assert torch.equal(piece.views[1], -piece.inputs["words"][:, 0])
        assert (piece.step, piece.epoch) == (7, 2)


def test_the_loss_of_pieces_is_that_of_the_whole() -> None:
    whole = rows()
    mean = whole.labels.double().mean()
    weighted = sum(piece.share * piece.labels.double().mean() for piece in whole.pieces(4))
    assert float(weighted) == pytest.approx(float(mean))


def test_some_rows_are_a_batch_of_their_own() -> None:
    whole = rows()
    first = whole.of_domain(0)
    assert first.ids.tolist() == [100, 103, 106, 109]
    assert first.share == 1
    assert whole.select(torch.tensor([9, 0])).ids.tolist() == [109, 100]
    assert whole.select(whole.labels > 1).labels.tolist() == [2, 3, 2, 3]


def test_other_portions_move_along() -> None:
    other = rows(4)
    whole = Batch(torch.zeros(2), torch.arange(2), torch.arange(2), torch.arange(2), others={"gates": other})
    moved = whole.to(torch.device("meta"))
    assert moved.others["gates"].inputs["words"].device.type == "meta"
    assert moved.labels.device.type == "meta"
