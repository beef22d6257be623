"""Runs the code that comes on standard input as ``__main__``; charts that it draws with matplotlib are reported.

The first line of the input is a word that nobody can guess: what follows it on a line of the output, after the code has
ended, is the list of charts (JSON). matplotlib finds its backend in a module that is made here when it asks for it, so
that code which does not use it pays nothing.
"""

# ruff: noqa: BLE001, B905, S102, SIM115 - running code is what this is for, whatever it raises; Python 3.8 has no strict
# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from typing import Any


def _prepare() -> bytes:
    import os
    import sys

    word, _, code = sys.stdin.buffer.read().partition(b"\n")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)
    _offer_backend(word.decode())
    _shorten_tracebacks()
    return code


def _main_names() -> dict[str, Any]:
    """Those of a new module that is ``__main__`` from now on: what is pickled by its name is looked for there."""
    import sys
    from types import ModuleType

    sys.modules["__main__"] = main = ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    return main.__dict__


def _shorten_tracebacks() -> None:
    """The frame of this program itself is of no interest to who reads the traceback."""
    import sys
    from types import TracebackType

    plain = sys.excepthook

    def hook(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        rest = traceback.tb_next if traceback else None
        plain(kind, value.with_traceback(rest), rest)

    sys.excepthook = hook


def _offer_backend(word: str) -> None:
    import atexit
    import os
    import sys
    from importlib.machinery import ModuleSpec

    charts: list[dict[str, Any]] = []

    def show(*_arguments: object, **_options: object) -> None:
        from matplotlib import pyplot

        for number in pyplot.get_fignums():
            charts.append(_figure(pyplot.figure(number)))
        pyplot.close("all")

    class Backend:
        """Finds and fills the module ``moonpool_charts`` when matplotlib asks for it, and not before."""

        def find_spec(self, name: str, *_place: object) -> ModuleSpec | None:
            return ModuleSpec(name, loader) if name == "moonpool_charts" else None

        def create_module(self, spec: ModuleSpec) -> None:
            return None

        def exec_module(self, module: Any) -> None:
            from matplotlib.backends import backend_agg

            module.FigureCanvas = backend_agg.FigureCanvasAgg
            module.FigureManager = backend_agg.FigureManagerBase
            module.show = show
            # What is registered last runs first: before matplotlib throws away the figures that were not shown.
            atexit.register(report)

    def report() -> None:
        try:
            show()
        except Exception as error:  # what goes wrong with a chart is no reason to fail the code
            print("charts could not be read:", error, file=sys.stderr)
        if charts:
            _write(word, charts)

    loader: Any = Backend()
    sys.meta_path.append(loader)
    os.environ.setdefault("MPLBACKEND", "module://moonpool_charts")


def _write(word: str, charts: list[dict[str, Any]]) -> None:
    import json
    import os
    import sys

    sys.stdout.flush()
    rest = memoryview(("\n" + word + json.dumps(charts)).encode())
    while rest:
        rest = rest[os.write(1, rest) :]


def _figure(figure: Any) -> dict[str, Any]:
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


exec(compile(_prepare(), "<string>", "exec", dont_inherit=True), _main_names())
