"""What a run cost, and what it ran on."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.core.printable import without_passwords

if TYPE_CHECKING:
    from bench.execute.method import Method

_NAMED = ("methodbench", "torch", "lightning", "torchmetrics", "timm", "transformers", "peft", "datasets", "numpy")


def parameters(method: Method) -> dict[str, int]:
    """Parameters that move in any phase, and all of them; tied weights count once."""
    return {
        "trainable_parameters": sum(parameter.numel() for parameter in method.trainable.values()),
        "total_parameters": sum(parameter.numel() for parameter in method.parameters()),
    }


def reset_peak(device: torch.device) -> None:
    """Begin a new measurement of peak memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # the peak then is the process's, since its start
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int | None:
    """Peak memory since `reset_peak`: of the GPU, or of this process; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def provenance(device: torch.device, homes: dict[str, Path]) -> dict[str, Any]:
    """Versions, hardware, determinism class; commit and cleanliness of the harness and the declarations' projects."""
    roots = sorted({str(folder) for folder in (Path(__file__).parents[1], *homes.values())})
    return {
        "versions": _versions(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "determinism": "bitwise at equal threads" if device.type == "cpu" else "within tolerance",
        "source": [found for root in roots if (found := _commit(root)) is not None],
        "command": [Path(sys.argv[0]).name, *(without_passwords(word) for word in sys.argv[1:])],
    }


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {}
    for name in _NAMED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def look_again() -> None:
    """Forget what is known of checkouts: files may have been edited since the last grid of this process."""
    _commit.cache_clear()


@lru_cache(maxsize=32)
def _commit(folder: str) -> dict[str, Any] | None:
    """The git commit a folder is at and whether its files are as committed; None outside a repository."""
    try:
        ignored = subprocess.run(["git", "-C", folder, "check-ignore", "-q", "."], capture_output=True, timeout=10)
        if ignored.returncode == 0:  # an environment inside somebody's checkout
            return None
        answered = [
            subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, timeout=10, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "."])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": answered[0].strip(), "clean": not answered[1].strip()}
