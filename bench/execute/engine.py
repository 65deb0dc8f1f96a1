"""One run: build, fit, predict at the candidate checkpoints, select, score, record."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

from bench.core.errors import UserError
from bench.data.access import Access
from bench.data.modalities import modality
from bench.data.prepare import Part, Prepared, Reading, Step, equal_contents, prepare
from bench.execute import cost
from bench.execute.build import build, method_problem, work_backbone
from bench.execute.checkpoint import bring
from bench.execute.data import Data
from bench.execute.draws import drawn
from bench.execute.evaluate import predict_part
from bench.execute.fit import Fit, check_frozen, fit
from bench.execute.loaders import Order, schedule, steps_of, training_loader
from bench.execute.method import Method
from bench.execute.options import Options
from bench.execute.progress import Progress
from bench.execute.state import write_state
from bench.execute.training import Training, phases_of
from bench.execute.watch import Watch
from bench.plan.grid import check_code, wanted_data
from bench.predictions import save as save_predictions
from bench.predictions.measure import measure
from bench.problems import Problem
from bench.score import score
from bench.select import Candidate, Selection, select
from bench.store import scores

if TYPE_CHECKING:
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
    if device.type == "cpu" and run.spec["precision"] == "16":
        raise UserError("--precision 16 needs a GPU; on the CPU mixed precision is bf16.")
    problem = method_problem(run)
    prepared = prepared_data(run, access)
    work = Work(run, folder, access, options, progress, device, problem, prepared, time.time())
    cost.reset_peak(device)
    pool = prepared.pool(run.replicate)
    train = pool["train"]
    task, size = run.task, int(run.task["budget"]["batch_size"])
    per_epoch = schedule(train, task["name"], run.replicate, size, problem.balanced).per_epoch
    steps = 2 if options.debug else steps_of(task["budget"], per_epoch)
    progress.phase("building")
    domains = int(problem.domains_of(train.groups, len(train)).max()) + 1
    method = build(run, work_backbone(run, access), problem, steps, domains)
    method.precision = work.precision
    found = phases_of(method, steps, trial=options.debug)
    data = Data(train, pool.get("val"), tuple(prepared.tests()))
    training = Training(method, found, data, options.micro_batch)
    order = Order(train, task["name"], run.replicate, size, problem.balanced, found)
    kept = bring(previous, folder)
    watch = _watch(work, training)
    progress.begin(run.label, training.total, 0 if kept is None else int(kept["training"]["done"]))

    def loader(start: int, stop: int) -> Any:
        kind, encoder = modality(task["problem"].partition("-")[0]), method.backbone.encoder
        workers = options.workers
        return training_loader(train, kind, encoder, task, run.replicate, problem, order, stop, start, workers)

    frozen = fit(Fit(run, folder, device, options, training, watch, loader), kept)
    work.fit_seconds = watch.fit_seconds
    candidates = _predict(work, training, watch)
    check_frozen(method, frozen)  # finish() may have merged what is kept apart
    return _record(work, training, watch, candidates)


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


def _watch(work: Work, training: Training) -> Watch:
    options = work.options
    return Watch(
        work.folder,
        training,
        int(work.task["budget"]["validations"]),
        work.task,
        work.progress,
        options.checkpoint_seconds,
        options.stop,
        work.run.seconds,
        options.report,
    )


def _predict(work: Work, training: Training, watch: Watch) -> list[Candidate]:
    """Predict validation and test inputs at each candidate checkpoint."""
    work.progress.phase("predicting")
    method, val, candidates = training.method, training.data.val, []
    finished = type(method).finish is not Method.finish
    training.before_prediction()
    best = watch.best_file()
    if best is not None and watch.best is not None and (watch.best["step"] < training.done or finished):
        last = method.trained_state()
        method.load_trained_state(load_file(best))
        known = watch.predicted.get("best")
        candidates.append(_candidate(work, method, val, "best", int(watch.best["step"]), known))
        method.load_trained_state(last)
    info = method.info
    with drawn("method", *info.own, "finish", device=work.device):
        method.finish()
    known = None if finished else watch.predicted.get("last")
    candidates.append(_candidate(work, method, val, "last", training.done, known))
    return candidates


def _candidate(
    work: Work, method: Method, val: Part | None, name: str, step: int, known: tuple[int, Any] | None
) -> Candidate:
    """Predict at a checkpoint; `known` are validation predictions that the watch made at a step, maybe this one."""
    write_state(method, work.folder / f"{name}.safetensors")
    begun, rows = time.perf_counter(), 0
    for part in work.prepared.tests():
        save_predictions(work.folder, name, part.name, predict_part(method, part))
        rows += len(part)
    work.seconds_per_row = (time.perf_counter() - begun) / rows
    if val is None or val.labels is None:
        return Candidate(name, step, None)
    predictions = known[1] if known is not None and known[0] == step else predict_part(method, val)
    save_predictions(work.folder, name, "val", predictions)
    values = measure(work.task, predictions, work.problem.truth(val.labels, val.subgroups))
    return Candidate(name, step, values["score"])


def _record(work: Work, training: Training, watch: Watch, candidates: list[Candidate]) -> dict[str, Any]:
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
            **cost.parameters(training.method),
            "stored_bytes": kept.stat().st_size,
            "fit_seconds": work.fit_seconds,
            "predict_seconds_per_1000": 1000 * work.seconds_per_row,
            "peak_bytes": cost.peak_bytes(work.device),
            **training.counts(),
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
