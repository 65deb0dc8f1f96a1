"""One run: build, fit, predict at the candidate checkpoints, select, score, record."""

from __future__ import annotations

import itertools
import logging
import time
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning import Trainer
from safetensors.torch import load_file, save_file

from bench.core.errors import UserError
from bench.core.loading import load
from bench.data.access import Access
from bench.data.modalities import modality
from bench.data.prepare import Part, Prepared, Reading, Step, equal_contents, prepare
from bench.execute import cost
from bench.execute.backbones import Backbone, Origin, make_backbone
from bench.execute.checkpoint import bring
from bench.execute.data import Data
from bench.execute.draws import drawn
from bench.execute.evaluate import PRECISIONS, predict_part
from bench.execute.loaders import Schedule, schedule, steps_of, training_loader
from bench.execute.logs import closing, make_loggers
from bench.execute.method import Blueprint, Method
from bench.execute.options import Options
from bench.execute.progress import Progress
from bench.execute.watch import Watch
from bench.plan.grid import check_code, wanted_data
from bench.predictions import save as save_predictions
from bench.predictions.measure import measure
from bench.problems import Problem, problem_of
from bench.score import score
from bench.select import Candidate, Selection, select
from bench.store import scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.plan.run import Run


_THREADS = torch.get_num_threads()  # torch's own choice, whatever an earlier run in this process asked for


@dataclass
class Work:
    """What one run's execution has in hand. The method sees `data` and its blueprint, nothing else of this."""

    run: Run
    folder: Path
    access: Access
    options: Options
    progress: Progress
    device: torch.device
    problem: Problem
    prepared: Prepared
    started: float
    fit_seconds: float = 0.0
    seconds_per_row: float = 0.0  # of the last prediction of the test parts

    @property
    def task(self) -> Mapping[str, Any]:
        return self.run.task

    @property
    def precision(self) -> str:
        return str(self.run.spec["precision"])


def execute(
    run: Run, folder: Path, previous: Path | None, access: Access, options: Options, progress: Progress
) -> dict[str, Any]:
    """Carry out a run in `folder` and give its record; `previous` holds the checkpoint of an interrupted attempt.

    Raises UserError for what a person must mend, Interrupted when asked to stop, and whatever the method raises.
    """
    check_code(run)
    torch.set_num_threads(options.threads or _THREADS)
    device = choose_device(options.device)
    problem = method_problem(run)
    prepared = prepared_data(run, access)
    work = Work(run, folder, access, options, progress, device, problem, prepared, time.time())
    cost.reset_peak(device)
    pool = prepared.pool(run.replicate)
    size = int(run.task["budget"]["batch_size"])
    order = schedule(pool["train"], run.task["name"], run.replicate, size, problem.balanced)
    steps = 2 if options.debug else steps_of(run.task["budget"], order.per_epoch)
    progress.phase("building")
    method = build(run, work_backbone(run, access), problem, steps)
    watch = _watch(work, steps, pool.get("val"))
    data, done = _data(work, method, pool, order, steps, previous)
    progress.begin(run.label, steps, done)
    if method.adaptation.calibration_batches and data.resume is None:
        _calibrate(method, data)
    trainer = _trainer(work, watch, steps, _micro(work, order))
    begun = time.monotonic()
    with _on(device, method), closing(trainer.loggers):
        method.fit(data, trainer)
    work.fit_seconds = watch.fit_seconds or time.monotonic() - begun  # a fit of the method's own has no watch
    method.to(device)
    candidates = _predict(work, method, watch, pool.get("val"), steps)
    return _record(work, method, watch, candidates)


def build(run: Run, backbone: Backbone, problem: Problem, steps: int) -> Method:
    """The method of a run, built around a backbone."""
    declared = run.spec["method"]
    homes = {slot: home for slot, home in run.homes.items() if slot != "task"}
    blueprint = Blueprint(declared, run.task["name"], run.replicate, problem, steps, homes)
    made = Method if not declared.get("method") else load(declared["method"], run.homes["method"])
    method: Method = made(blueprint)
    method.build(backbone)
    return method


def method_problem(run: Run) -> Problem:
    """The problem as a method may know it: without the place its data come from."""
    return problem_of({key: value for key, value in run.task.items() if key != "source"})


def work_backbone(run: Run, access: Access) -> Backbone:
    """The run's backbone; random twins are drawn from the task's init stream."""
    home = run.homes.get("backbone") or Path()
    with drawn("init", run.task["name"], run.replicate):
        revision = run.spec["weights"].get("revision")
        return make_backbone(Origin(run.backbone, run.task, home, access, bool(run.spec["twin"]), revision))


def prepared_data(run: Run, access: Access, step: Step | None = None, reading: Reading | None = None) -> Prepared:
    """The run's data, read from its source when the cache lacks it."""
    return prepare(wanted_data(run), access, step, reading)


def choose_device(wanted: str) -> torch.device:
    """`auto` takes a GPU where there is one; UserError for a device that is not there."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UserError(f"--device is {wanted!r}; expected auto, cpu, cuda, cuda:N or mps.") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False) or (
        device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    ):
        raise UserError(f"--device is {wanted}, and torch finds no such device here.")
    return device


def _data(
    work: Work, method: Method, pool: Mapping[str, Part], order: Schedule, steps: int, previous: Path | None
) -> tuple[Data, int]:
    kind = modality(work.task["problem"].partition("-")[0])
    encoder = method.backbone.encoder
    micro, workers = _micro(work, order), work.options.workers
    resume, done = bring(previous, work.folder, micro)
    task, replicate = work.task, work.run.replicate

    def training() -> Any:
        return training_loader(
            pool["train"], kind, encoder, task, replicate, work.problem, order, steps, micro, done, workers
        )

    return Data(pool["train"], pool.get("val"), tuple(work.prepared.tests()), encoder, training, resume), done


def _calibrate(method: Method, data: Data) -> None:
    """Let the adaptation look at its share of the first training batches."""
    batches = itertools.islice(data.training(), method.adaptation.calibration_batches)
    with drawn("method", *method.blueprint.own, "calibrate"):
        method.adaptation.calibrate(batches, method.loss)


def _micro(work: Work, order: Schedule) -> int:
    """Into how many micro-batches a step is cut."""
    wanted = work.options.micro_batch
    if wanted is None:
        return 1
    sizes = [len(order.rows(step)) for step in range(order.per_epoch)]
    return max(1, min(-(-max(sizes) // wanted), min(sizes)))


def _watch(work: Work, steps: int, val: Part | None) -> Watch:
    budget = work.task["budget"]
    validations = min(steps, int(budget["validations"]))
    options = work.options
    return Watch(
        work.folder,
        steps,
        validations,
        val,
        work.task,
        work.precision,
        work.progress,
        options.checkpoint_seconds,
        options.stop,
        work.run.seconds,
        options.report,
    )


def _trainer(work: Work, watch: Watch, steps: int, micro: int) -> Trainer:
    # Lightning's notices are for people who write its loops by hand; errors still come through.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    clip = (work.run.spec["method"].get("optimizer") or {}).get("clip")
    return Trainer(
        accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[work.device.type],
        devices=[work.device.index or 0] if work.device.type == "cuda" else 1,
        precision=PRECISIONS[work.precision],  # type: ignore[arg-type]
        max_epochs=1,
        max_steps=steps,
        accumulate_grad_batches=micro,
        gradient_clip_val=clip,
        logger=make_loggers(work.options.log, work.folder / "log", work.run, work.options.group) or False,
        callbacks=[watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=work.folder,
    )


@contextmanager
def _on(device: torch.device, method: Method) -> Iterator[None]:
    """Put the method on its device; what is drawn inside does not reach the process's own random state."""
    with drawn("method", *method.blueprint.own, "fit", device=device), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        method.to(device)
        method.train()
        yield


def _predict(work: Work, method: Method, watch: Watch, val: Part | None, steps: int) -> list[Candidate]:
    """Predict validation and test inputs at each candidate checkpoint."""
    work.progress.phase("predicting")
    candidates = []
    finished = type(method).finish is not Method.finish
    best = watch.best_file()
    if best is not None and watch.best is not None and (watch.best["step"] < steps or finished):
        last = method.trained_state()
        method.load_trained_state(load_file(best))
        known = watch.predicted.get("best")
        candidates.append(_candidate(work, method, val, "best", int(watch.best["step"]), known))
        method.load_trained_state(last)
    with drawn("method", *method.blueprint.own, "finish", device=work.device):
        method.finish()
    known = None if finished else watch.predicted.get("last")
    candidates.append(_candidate(work, method, val, "last", steps, known))
    return candidates


def _candidate(
    work: Work, method: Method, val: Part | None, name: str, step: int, known: tuple[int, Any] | None
) -> Candidate:
    """Predict at a checkpoint; `known` are validation predictions that the watch made at a step, maybe this one."""
    save_file(method.trained_state(), work.folder / f"{name}.safetensors")
    begun, rows = time.perf_counter(), 0
    for part in work.prepared.tests():
        save_predictions(work.folder, name, part.name, predict_part(method, part, work.precision))
        rows += len(part)
    work.seconds_per_row = (time.perf_counter() - begun) / rows
    if val is None or val.labels is None:
        return Candidate(name, step, None)
    predictions = known[1] if known is not None and known[0] == step else predict_part(method, val, work.precision)
    save_predictions(work.folder, name, "val", predictions)
    values = measure(work.task, predictions, work.problem.truth(val.labels, val.subgroups))
    return Candidate(name, step, values["score"])


def _record(work: Work, method: Method, watch: Watch, candidates: list[Candidate]) -> dict[str, Any]:
    """Select, keep the selected state, score, and write down what the run was and cost."""
    rule = work.problem.selections[0] if work.problem.afterwards else str(work.task["selection"])
    selection = select(rule, candidates)
    selection.write(work.folder)
    kept = _keep(work.folder, selection, candidates)
    prepared_data(work.run, work.access)  # should a cleaner have emptied the cache meanwhile
    if work.options.score:
        tests = [part.name for part in work.prepared.tests()]
        event = score(work.folder, work.task, work.run.data, tests, work.problem, work.access)
        scores.append(work.folder, event)
    run = work.run
    provenance = cost.provenance(work.device, dict(run.homes))
    return {
        "schema": 1,
        "key": run.key,
        "spec": run.spec,
        "request": run.request,
        "selection": {
            "rule": selection.rule,
            "candidate": selection.candidate,
            "step": selection.step,
            "value": selection.value,
        },
        "history": watch.history,
        "cost": {
            **cost.parameters(method),
            "stored_bytes": kept.stat().st_size,
            "fit_seconds": work.fit_seconds,
            "predict_seconds_per_1000": 1000 * work.seconds_per_row,
            "peak_bytes": cost.peak_bytes(work.device),
            "steps": watch.done,
        },
        "data": {
            "digest": run.data,
            "rows": {name: len(part) for name, part in work.prepared.pool(run.replicate).items()}
            | {name: found["rows"] for name, found in work.prepared.meta["tests"].items()},
            "equal_contents": equal_contents(work.prepared, run.replicate),
            "missing": work.prepared.meta["missing"],
        },
        "provisional": _provisional(work, provenance["source"]),
        "provenance": provenance,
        "started": work.started,
        "finished": time.time(),
    }


def _keep(folder: Path, selection: Selection, candidates: list[Candidate]) -> Path:
    """Keep the selected state as `trained.safetensors`, drop the other's."""
    kept = folder / "trained.safetensors"
    (folder / f"{selection.candidate}.safetensors").replace(kept)
    for candidate in candidates:
        (folder / f"{candidate.name}.safetensors").unlink(missing_ok=True)
    return kept


def _provisional(work: Work, sources: list[dict[str, Any]]) -> list[str]:
    reasons = list(work.run.provisional)
    reasons += [f"the mirror lacks {part}" for part in work.prepared.meta["missing"]]
    if any(not source["clean"] for source in sources):
        reasons.append("made from uncommitted changes")
    if work.run.spec["twin"]:
        reasons.append("twin: synthetic data and a random backbone")
    return reasons


def restore(run: Run, folder: Path, access: Access) -> Method:
    """The trained method of a record, on the CPU."""
    method = build(run, work_backbone(run, access), method_problem(run), 1)
    method.load_trained_state(load_file(folder / "trained.safetensors"))
    method.eval()
    return method
