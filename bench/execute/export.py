"""Export: the trained network of a record, merged, in its library's own layout; or the adapter alone."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from bench.core.errors import UserError
from bench.core.files import write_json
from bench.data.access import Access
from bench.execute.build import restore
from bench.plan.run import Run


def export(run: Run, folder: Path, target: Path, access: Access, adapter: bool = False) -> list[str]:
    """Write a record's model into `target` and name the files.

    Merged: the backbone with the adapters written into its weights, and the head beside it (`head.safetensors`).
    With `adapter`: what was trained, where `peft` knows the form in a folder that `PeftModel.from_pretrained` opens.
    """
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        raise UserError(f"{target} exists and is not empty; name a new folder.")
    method = restore(run, folder, access)
    if not adapter and not method.adaptation.mergeable:
        raise UserError(f"{run.request['method']} depends on the input and cannot be merged; export with --adapter.")
    target.mkdir(parents=True, exist_ok=True)
    if adapter:
        if not method.adaptation.save_adapter(target, str(run.backbone.get("name") or "")):
            save_file(method.trained_state(), target / "trained.safetensors")
    else:
        method.adaptation.merge()
        try:
            method.backbone.save(target)
        except UserError:
            target.rmdir()
            raise
    head = {name: tensor.detach().contiguous() for name, tensor in method.head.state_dict().items()}
    save_file(head, target / "head.safetensors")
    labels = {key: run.task[key] for key in ("classes", "range", "inputs", "image", "text") if key in run.task}
    write_json(target / "bench.json", {"key": run.key, "request": dict(run.request), "task": labels})
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
