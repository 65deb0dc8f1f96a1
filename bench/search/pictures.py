"""Pictures of a search: history, parallel coordinates, importance of parameters, budget curve.

Each is a PNG drawn here, and all are one HTML page in Optuna's interactive form that needs no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.aggregate.searches import Point
from bench.core.files import write_atomic
from bench.core.printable import printable
from bench.declarations.yaml12 import parse
from bench.plan.space import Space, Values
from bench.plan.study import Study
from bench.search.samplers import distribution, kept_of, words_of
from bench.select.trials import Trial, best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna.study import Study as Kept

_INK, _SOFT, _BEST = "#1b4965", "#9db4c0", "#c1121f"


def write_pictures(study: Study, trials: Sequence[Trial], points: Sequence[Point], folder: Path) -> list[Path]:
    """The pictures of one study, in a folder of its name; the files.

    What cannot be drawn (the importance of parameters after one trial, say) is left out and said on the page.
    """
    target = folder / study.name
    target.mkdir(parents=True, exist_ok=True)
    weights = _importance(_kept(study, trials))
    drawn = {
        "history": lambda axes: _history(axes, trials),
        "budget-curve": lambda axes: _curve(axes, points),
        "parallel-coordinates": lambda axes: _parallel(axes, study.space, trials),
        "importance": lambda axes: _bars(axes, weights),
    }
    empty = {"parallel-coordinates": not study.space.parameters, "importance": not weights, "budget-curve": not points}
    files = [_png(target / f"{name}.png", study.label, draw) for name, draw in drawn.items() if not empty.get(name)]
    page = target / "study.html"
    write_atomic(page, _page(study, trials, points, weights))
    return [*files, page]


def _png(path: Path, title: str, draw: Any) -> Path:
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_plain(title), fontsize=10, loc="left")
    draw(axes)
    made = BytesIO()
    figure.savefig(made, format="png", metadata={"Software": None})
    write_atomic(path, made.getvalue())
    return path


def _history(axes: Axes, trials: Sequence[Trial]) -> None:
    """Every trial's validation score, the best so far, and marks for those that did not end."""
    done = [(one.number, 100 * one.value) for one in trials if one.state == "done" and one.value is not None]
    best = [max(value for _, value in done[: place + 1]) for place in range(len(done))]
    axes.plot([x for x, _ in done], [y for _, y in done], "o", color=_SOFT, label="trial")
    axes.step([x for x, _ in done], best, where="post", color=_BEST, label="best so far")
    floor = min((y for _, y in done), default=0.0)
    for state, sign in (("pruned", "v"), ("failed", "x")):
        at = [one.number for one in trials if one.state == state]
        if at:
            axes.plot(at, [floor] * len(at), sign, color=_INK, label=state)
    axes.set(xlabel="trial (0: the declared parameters)", ylabel="validation score (%)")
    _whole(axes)
    axes.legend(frameon=False, fontsize=8)


def _whole(axes: Axes) -> None:
    """Trials are counted in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _curve(axes: Axes, points: Sequence[Point]) -> None:
    """The expected best of a smaller budget, and where it lies in 95 % of orders."""
    counts = [one.trials for one in points]
    low, high = [100 * one.low for one in points], [100 * one.high for one in points]
    axes.fill_between(counts, low, high, color=_SOFT, alpha=0.4, label="95 % of orders")
    axes.plot(counts, [100 * one.expected for one in points], color=_INK, label="expected")
    axes.set(xlabel="number of trials", ylabel="best validation score (%)")
    _whole(axes)
    axes.legend(frameon=False, fontsize=8)


def _parallel(axes: Axes, space: Space, trials: Sequence[Trial]) -> None:
    """One line per done trial through its parameters, the darker the better."""
    best = best_of(trials)
    done = sorted((one for one in trials if one.state == "done"), key=lambda one: (one is best, one.value or 0.0))
    for place, one in enumerate(done):
        values = values_of(one, space)
        heights = [_height(parameter, values.get(parameter.key)) for parameter in space.parameters]
        color, strength = (_BEST, 1.0) if one is best else (_INK, 0.1 + 0.5 * (place + 1) / len(done))
        axes.plot(range(len(heights)), heights, "o-", color=color, alpha=strength, lw=1.2)
    names = [f"{_plain(one.key)}\n{_plain(one.describe())}" for one in space.parameters]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.margins(x=0.15)
    axes.set(ylim=(-0.05, 1.05), ylabel="place in its range (the best trial in red)")


def _height(parameter: Any, value: Any) -> float:
    if value is None and None not in parameter.choices:
        return float("nan")  # not searched in this trial
    if parameter.choices:
        return words_of(parameter).index(kept_of(parameter, value)) / max(1, len(parameter.choices) - 1)
    return float(parameter.place(float(value)))


def _bars(axes: Axes, weights: Mapping[str, float]) -> None:
    axes.barh([_plain(key) for key in reversed(list(weights))], list(reversed(list(weights.values()))), color=_INK)
    axes.set(xlabel="share of the validation score's variance (fANOVA)", xlim=(0, 1))


def _importance(study: Kept) -> dict[str, float]:
    """How much each parameter explains (Hutter et al. An Efficient Approach for Assessing Hyperparameter Importance.
    2014); {} where the trials are too few or all alike.
    """
    import optuna

    try:
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):
        return {}
    return {key: float(value) for key, value in found.items()} if sum(found.values()) else {}


def _page(study: Study, trials: Sequence[Trial], points: Sequence[Point], weights: Mapping[str, float]) -> str:
    """One page with all four; the plotting library is inside it once."""
    import plotly.graph_objects as go
    import plotly.io
    from optuna import visualization

    made = _kept(study, trials)
    figures = [visualization.plot_optimization_history(made)]
    if points:
        counts = [one.trials for one in points]
        band = go.Scatter(
            x=[*counts, *reversed(counts)],
            y=[*(one.high for one in points), *(one.low for one in reversed(points))],
            fill="toself",
            mode="none",
            name="95 % of orders",
        )
        mean = go.Scatter(x=counts, y=[one.expected for one in points], name="expected")
        figures.append(go.Figure([band, mean], layout={"title": "Budget curve: best score of so many trials"}))
    if weights:
        figures.append(visualization.plot_parallel_coordinate(made))
        bars = go.Bar(x=list(weights.values()), y=list(weights), orientation="h")
        figures.append(go.Figure([bars], layout={"title": "Importance of parameters (fANOVA)"}))
    parts = [
        plotly.io.to_html(figure, include_plotlyjs=place == 0, full_html=False, div_id=f"figure-{place}")
        for place, figure in enumerate(figures)
    ]
    note = "" if weights else "<p>Too few trials, or all alike: no importance of parameters.</p>"
    title = escape(printable(study.label))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f'<body style="font-family:system-ui,sans-serif"><h1>{title}</h1>'
        f"<p>Validation scores; {escape(printable(study.name))}</p>{note}{''.join(parts)}</body></html>\n"
    )


def _kept(study: Study, trials: Sequence[Trial]) -> Kept:
    """The trials as a study of Optuna's, in memory."""
    import optuna
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made = optuna.create_study(direction="maximize", study_name=study.name)
    for one in trials:
        if one.state != "done" or one.value is None:
            continue
        values = values_of(one, study.space)
        spread = {item.key: distribution(item) for item in study.space.parameters if item.key in values}
        params = {item.key: kept_of(item, values[item.key]) for item in study.space.parameters if item.key in values}
        made.add_trial(create_trial(state=TrialState.COMPLETE, value=one.value, params=params, distributions=spread))
    return made


def values_of(trial: Trial, space: Space) -> Values:
    """A trial's parameters as values; the declared ones for trial 0."""
    if not trial.number:
        return space.defaults()
    parts = (one.partition("=") for one in trial.overrides)
    return {key: parse(text, key, lines=False) for key, _, text in parts}


def _plain(text: str) -> str:
    """Text that matplotlib takes for no formula."""
    return printable(text).replace("$", r"\$")
