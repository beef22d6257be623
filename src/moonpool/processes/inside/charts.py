"""A backend of matplotlib that keeps what is drawn: as a picture, and as data, the way clients read charts.

It is the module ``moonpool_charts`` inside, made when matplotlib asks for it.
"""

# ruff: noqa: B905 - Python 3.8 has no strict
# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from typing import Any, Callable  # noqa: UP035 - Python 3.8

from matplotlib.backends import backend_agg

FigureCanvas = backend_agg.FigureCanvasAgg
FigureManager = backend_agg.FigureManagerBase

taken: list[dict[str, Any]] = []
take: Callable[[dict[str, Any]], None] = taken.append


def show(*_arguments: object, **_options: object) -> None:
    """All figures that are open; they are closed."""
    from matplotlib import pyplot

    for number in pyplot.get_fignums():
        take(describe(pyplot.figure(number)))
    pyplot.close("all")


def describe(figure: Any) -> dict[str, Any]:
    import base64
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    axes = [_axes(each) for each in figure.get_axes()]
    if len(axes) == 1:
        chart = axes[0]
    else:
        title = figure._suptitle.get_text() if figure._suptitle else ""
        chart = {"type": "composite_chart" if axes else "unknown", "title": title, "elements": axes}
    chart["png"] = base64.b64encode(buffer.getvalue()).decode()
    return chart


def _axes(axes: Any) -> dict[str, Any]:
    kind, elements = _elements(axes)
    chart: dict[str, Any] = {"type": kind, "title": axes.get_title(), "elements": elements}
    if kind == "pie":
        return chart
    chart.update(x_label=axes.get_xlabel(), y_label=axes.get_ylabel())
    if kind in ("line", "scatter"):
        for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
            chart[name + "_ticks"] = [_number(tick) for tick in axis.get_ticklocs()]
            chart[name + "_tick_labels"] = [label.get_text() for label in axis.get_ticklabels()]
            chart[name + "_scale"] = axis.get_scale()
    return chart


def _elements(axes: Any) -> tuple[str, list[dict[str, Any]]]:
    from matplotlib import collections, container, patches

    bars = [each for each in axes.containers if isinstance(each, container.BarContainer)]
    if bars:
        return "bar", _bars(axes, bars)
    wedges = [each for each in axes.patches if isinstance(each, patches.Wedge)]
    if wedges:
        return "pie", [_wedge(each) for each in wedges]
    boxes = _boxes(axes)
    if boxes:
        return "box_and_whisker", boxes
    points = [each for each in axes.collections if isinstance(each, collections.PathCollection)]
    if points and not axes.lines:
        return "scatter", [_points(each, each.get_offsets()) for each in points]
    if axes.lines:
        return "line", [_points(each, each.get_xydata()) for each in axes.lines]
    return "unknown", []


def _points(artist: Any, pairs: Any) -> dict[str, Any]:
    return {"label": str(artist.get_label()), "points": [[_number(x), _number(y)] for x, y in pairs]}


def _bars(axes: Any, containers: list[Any]) -> list[dict[str, Any]]:
    names = {round(tick, 6): label.get_text() for tick, label in zip(axes.get_xticks(), axes.get_xticklabels())}
    elements = []
    for number, bars in enumerate(containers):
        group = str(bars.get_label())
        for bar in bars:
            middle = round(bar.get_x() + bar.get_width() / 2, 6)
            elements.append(
                {
                    "label": names.get(middle) or str(_number(middle)),
                    "group": str(number) if group.startswith("_") else group,
                    "value": str(_number(bar.get_height())),
                }
            )
    return elements


def _wedge(wedge: Any) -> dict[str, Any]:
    return {"label": str(wedge.get_label()), "angle": _number(wedge.theta2 - wedge.theta1), "radius": _number(wedge.r)}


def _boxes(axes: Any) -> list[dict[str, Any]]:
    """A box is drawn of lines: a closed outline of five points, two whiskers, two caps, a median, perhaps outliers."""
    lines = [[(float(x), float(y)) for x, y in line.get_xydata()] for line in axes.lines]
    outlines = [points for points in lines if len(points) == 5 and points[0] == points[4]]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    boxes = [_box(outline, lines) for outline in outlines]
    for box, label in zip(boxes, labels):
        box["label"] = label
    return boxes


def _box(outline: list[tuple[float, float]], lines: list[list[tuple[float, float]]]) -> dict[str, Any]:
    left, right = min(x for x, _ in outline), max(x for x, _ in outline)
    low, high = min(y for _, y in outline), max(y for _, y in outline)
    middle = (left + right) / 2

    def centred(points: list[tuple[float, float]]) -> bool:
        return all(abs(x - middle) < 1e-9 for x, _ in points)

    whiskers = [points for points in lines if len(points) == 2 and centred(points)]
    medians = [points[0][1] for points in lines if [x for x, _ in points] == [left, right]]
    ends = [y for points in whiskers for _, y in points]
    fliers = [points for points in lines if points not in whiskers and centred(points)]
    return {
        "label": "",
        "min": _number(min(ends, default=low)),
        "first_quartile": _number(low),
        "median": _number(medians[0] if medians else middle),
        "third_quartile": _number(high),
        "max": _number(max(ends, default=high)),
        "outliers": [_number(y) for points in fliers for _, y in points],
    }


def _number(value: Any) -> int | float:
    """JSON knows neither infinity nor nan: those become 0."""
    number = float(value)
    if number != number or abs(number) == float("inf"):
        return 0
    return int(number) if number.is_integer() else number
