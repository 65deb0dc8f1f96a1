"""The checkpoint of an interrupted attempt, brought into the attempt that goes on from it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

FILE = "run.ckpt"


def best_name(step: int) -> str:
    """The file beside the checkpoint that holds the best state so far."""
    return f"best-{step:08d}.safetensors"


def bring(previous: Path | None, folder: Path, micro: int) -> tuple[Path | None, int]:
    """Copy `previous`'s checkpoint into `folder`: (file, optimizer steps behind it), (None, 0) where there is none.

    `micro` is into how many micro-batches a step is cut now; Lightning counts those, and they may have been others.
    A damaged or incomplete checkpoint costs the time to train anew, nothing else.
    """
    if previous is None or not (previous / "checkpoint" / FILE).is_file():
        return None, 0
    made, target = folder / "checkpoint.coming", folder / "checkpoint"
    shutil.copytree(previous / "checkpoint", made, dirs_exist_ok=True)
    try:
        found = torch.load(made / FILE, map_location="cpu", weights_only=True)
        done = int(found["global_step"])
        best = found["callbacks"]["Watch"]["best"]
        if best is not None and not (made / best_name(int(best["step"]))).is_file():
            raise FileNotFoundError(best_name(int(best["step"])))
        if _recount(found, done * micro):
            torch.save(found, made / FILE)
    except Exception:
        shutil.rmtree(made, ignore_errors=True)
        return None, 0
    made.rename(target)
    return target / FILE, done


def _recount(checkpoint: dict[str, Any], batches: int) -> bool:
    """Set Lightning's count of micro-batches, as it stands in `on_train_batch_end`; whether it was another."""
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    if progress["current"]["ready"] == batches:
        return False
    for part in ("total", "current"):
        progress[part].update(ready=batches, started=batches, processed=batches, completed=batches - 1)
    return True
