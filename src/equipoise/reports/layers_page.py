"""Layers: the table for a terminal, and one page that needs nothing else."""

from __future__ import annotations

from typing import Any, Literal

from rich.console import Group

from ..metrics import Estimate
from . import wording
from .canvas import new_figure, styled
from .flat import flat
from .layers import Layer, LayerCurve, LayerResults
from .marks import by_block, legend, line
from .plots import Labelled
from .rendering import drawn, template
from .terminal import plain_table

_SAID = wording.Metric("said", "Probability of any option", "said", "percent", "the rest goes to other words")
_RESIDUALS = {
    "before": "block input fair",
    "middle": "after attention fair",
    "disagree": "the two disagree",
}


def render_layers(results: LayerResults) -> str:
    """The page, as HTML text."""
    return template("layers.html").render(
        results=results,
        made_by=results.equipoise,
        headline=headline(results),
        level=f"{100 * results.level:g}",
        figures=[drawn(figure, f"l{number}") for number, figure in enumerate(_figures(results))],
        tables=[_rows(results, curve) for curve in results.curves],
        facts=[("equipoise", results.equipoise), *((f"model {k}", v) for k, v in flat(results.model))]
        + [("task", results.task), ("seed", str(results.seed))]
        + ([] if results.file is None else [("intervention", results.file)])
        + [(k, v) for key, value in results.extra.items() for k, v in flat({key: value})],
    )


def headline(results: LayerResults) -> str:
    """How far the answers that layers give differ from the last, for the first kind of input."""
    curve = results.curves[0]
    name = _main(curve)
    values = [(one.metrics[name], one.block) for one in curve.layers]
    known = [(value.value, block) for value, block in values if value is not None and wording.is_known(value)]
    if not known:
        return "No layer gives an answer."
    (best, where), end = max(known) if name == "fairness" else min(known), known[-1][0]
    metric = _metric(name)
    words = "Fair answers" if name == "fairness" else metric.label
    return (
        f"{words}: {wording.number(best, metric.kind)} {_unit(metric.kind)} after block {where}, "
        f"{wording.number(end, metric.kind)} after the last."
    )


def layer_table(results: LayerResults) -> Group:
    """A table for each curve; print it with a rich ``Console``."""
    tables = []
    for curve in results.curves:
        metrics = _metrics(curve)
        table = plain_table(
            f"{results.task}: {results.model['name']}, {_name(curve)}",
            f"Answers of each block's output through the final norm and the head, {curve.n} items. Residuals: "
            f"share of fair answers before, after attention. Intervals ({100 * results.level:g} %) are on the page.",
        )
        table.add_column("block", justify="right")
        for metric in metrics:
            table.add_column(metric.short, justify="right", no_wrap=True)
        for label in _RESIDUALS.values():
            table.add_column(label, justify="right")
        for one in curve.layers:
            cells = [_plain(one.metrics.get(metric.key), metric.kind) for metric in metrics]
            cells += [_plain(one.residuals.get(name), "percent") for name in _RESIDUALS]
            table.add_row(str(one.block), *cells)
        table.add_row("model", *(_plain(curve.final.get(metric.key), metric.kind) for metric in metrics))
        tables.append(table)
    return Group(*tables)


def _main(curve: LayerCurve) -> str:
    return "fairness" if "fairness" in curve.layers[0].metrics else "per_occupation_bias"


def _metric(name: str) -> wording.Metric:
    return next(metric for metric in (*wording.METRICS, _SAID) if metric.key == name)


def _metrics(curve: LayerCurve) -> list[wording.Metric]:
    return [metric for metric in (*wording.METRICS, _SAID) if metric.key in curve.layers[0].metrics]


def _unit(kind: wording.Kind) -> str:
    return {"percent": "%", "points": "points", "nats": "nats", "plain": ""}[kind]


def _name(curve: LayerCurve) -> str:
    inputs = "all inputs" if curve.modality is None else f"{curve.modality} inputs"
    return inputs if curve.mitigation is None else f"{inputs}, {curve.mitigation} at λ = {curve.strength:g}"


def _plain(value: Estimate | None, kind: wording.Kind) -> str:
    return "–" if value is None or not wording.is_known(value) else wording.number(value.value, kind)


def _rows(results: LayerResults, curve: LayerCurve) -> dict[str, Any]:
    metrics = _metrics(curve)

    def cell(value: Estimate | None, kind: wording.Kind) -> tuple[str, str] | None:
        if value is None or not wording.is_known(value):
            return None
        return wording.number(value.value, kind), wording.interval(value, kind)

    def row(name: str, layer: Layer | None) -> tuple[str, list[tuple[str, str] | None]]:
        found = curve.final if layer is None else layer.metrics
        residuals = {} if layer is None else layer.residuals
        cells = [cell(found.get(metric.key), metric.kind) for metric in metrics]
        return name, cells + [cell(residuals.get(key), "percent") for key in _RESIDUALS]

    return {
        "name": _name(curve),
        "heads": [f"{metric.label}, {_unit(metric.kind)}" for metric in metrics]
        + [f"{label}, %" for label in _RESIDUALS.values()],
        "rows": [*(row(str(one.block), one) for one in curve.layers), row("the model", None)],
        "n": curve.n,
    }


def _figures(results: LayerResults) -> list[Labelled]:
    wanted = [metric for metric in _metrics(results.curves[0]) if metric.key != "greedy_per_occupation_bias"]
    found = [_curves_figure(results, metric) for metric in wanted]
    return [*found, _residual_figure(results)]


@styled
def _curves_figure(results: LayerResults, metric: wording.Metric) -> Labelled:
    figure, axes = new_figure()
    scale = 1.0 if metric.kind == "nats" else 100.0
    for number, curve in enumerate(results.curves):
        line(axes, _known(curve, "metrics", metric.key), scale, number, _name(curve))
    by_block(axes)
    axes.set(ylabel=f"{metric.short}, {_unit(metric.kind)}")
    legend(axes)
    return Labelled(figure, metric.label, "What the stream after each block answers. Bands are intervals.")


@styled
def _residual_figure(results: LayerResults) -> Labelled:
    figure, axes = new_figure()
    for number, curve in enumerate(results.curves):
        line(axes, _known(curve, "residuals", "disagree"), 100.0, number, _name(curve))
    by_block(axes)
    axes.set(ylabel="disagree, %")
    legend(axes)
    return Labelled(
        figure,
        "Residuals that disagree",
        "How often a block's input and the stream after its attention differ in whether they answer fairly.",
    )


def _known(curve: LayerCurve, of: Literal["metrics", "residuals"], name: str) -> list[tuple[float, Estimate]]:
    """Block and estimate where there is one."""
    found = [(one.block, getattr(one, of).get(name)) for one in curve.layers]
    return [(block, estimate) for block, estimate in found if wording.is_known(estimate)]
