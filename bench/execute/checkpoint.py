"""The checkpoint of an interrupted attempt: written beside the best state so far, and brought into the next attempt."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

FILE = "run.ckpt"


def best_name(step: int) -> str:
    """The file beside the checkpoint that holds the best state so far."""
    return f"best-{step:08d}.safetensors"


def write(folder: Path, training: dict[str, Any], watch: dict[str, Any]) -> None:
    """Write what a run goes on from into `folder`; the best state that it names was written before.

    RuntimeError for a state of which nothing could go on: the first of an attempt is read again.
    """
    folder.mkdir(exist_ok=True)
    torch.save({"training": training, "watch": watch}, folder / "writing.ckpt")
    if not (folder / FILE).exists():
        try:
            torch.load(folder / "writing.ckpt", map_location="cpu", weights_only=True)
        except Exception as error:
            raise RuntimeError(
                "the state of the run cannot be read back; what an optimizer or a part remembers must be tensors, "
                f"numbers and text: {error}"
            ) from None
    (folder / "writing.ckpt").replace(folder / FILE)


def bring(previous: Path | None, folder: Path) -> dict[str, Any] | None:
    """Copy `previous`'s checkpoint into `folder` and read it; None where there is none.

    A damaged or incomplete checkpoint costs the time to train anew, nothing else.
    """
    if previous is None or not (previous / "checkpoint" / FILE).is_file():
        return None
    made, target = folder / "checkpoint.coming", folder / "checkpoint"
    shutil.copytree(previous / "checkpoint", made, dirs_exist_ok=True)
    try:
        found: dict[str, Any] = torch.load(made / FILE, map_location="cpu", weights_only=True)
        best, _ = found["watch"]["best"], found["training"]["done"]
        if best is not None and not (made / best_name(int(best["step"]))).is_file():
            raise FileNotFoundError(best_name(int(best["step"])))
    except Exception:
        shutil.rmtree(made, ignore_errors=True)
        return None
    made.rename(target)
    return found
