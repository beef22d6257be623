"""Charts that programs in the default image draw, through the SDK."""

import base64
from collections.abc import Iterator

import pytest
from daytona import Daytona, DaytonaConfig, Sandbox
from daytona.common.charts import BarChart, BoxAndWhiskerChart, CompositeChart, LineChart, PieChart, ScatterChart
from daytona.common.charts import parse_chart as parsed

from tests.servers import Server


@pytest.fixture(scope="module")
def sandbox(server: Server) -> Iterator[Sandbox]:
    made = Daytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api")).create()
    yield made
    made.delete()


CHARTS = {
    "plt.plot([1, 2], [3, 4], label='up')\nplt.title('T')\nplt.xlabel('X')": LineChart,
    "plt.scatter([1, 2], [3, 4])": ScatterChart,
    "plt.bar(['a', 'b'], [3, 4])": BarChart,
    "plt.pie([1, 3], labels=['a', 'b'])": PieChart,
    "plt.boxplot([[1, 2, 3, 9]])": BoxAndWhiskerChart,
    "figure, axes = plt.subplots(1, 2)\naxes[0].plot([1, 2])\naxes[1].bar(['a'], [1])": CompositeChart,
}


def test_charts_that_code_draws_are_told_as_data(sandbox: Sandbox) -> None:
    body = "\n".join(f"plt.figure()\n{code}" if "subplots" not in code else code for code in CHARTS)
    code = f"import subprocess, sys\nimport matplotlib.pyplot as plt\n{body}\nplt.show()\nprint('drawn')"
    check = "import matplotlib; print(matplotlib.get_backend())"
    done = sandbox.process.code_run(f"{code}\nsubprocess.run([sys.executable, '-c', {check!r}], check=True)")
    assert done.exit_code == 0, done.result
    charts = [parsed(chart) for chart in done.artifacts.charts]
    assert [type(chart) for chart in charts] == list(CHARTS.values())
    assert all(base64.b64decode(chart.png).startswith(b"\x89PNG") for chart in charts)
    line, scatter, bar, pie, box, composite = charts
    assert (line.title, line.x_label, line.elements[0].label) == ("T", "X", "up")
    assert line.elements[0].points == scatter.elements[0].points == [[1, 3], [2, 4]]
    assert [(element.label, element.value) for element in bar.elements] == [("a", "3"), ("b", "4")]
    assert [(element.label, element.angle) for element in pie.elements] == [("a", 90), ("b", 270)]
    assert (box.elements[0].min, box.elements[0].median) == (1, 2.5)
    assert [element.type for element in composite.elements] == ["line", "bar"]
    assert "drawn" in done.result


def test_contexts_show_charts(sandbox: Sandbox) -> None:
    run = sandbox.code_interpreter.run_code
    assert run("import matplotlib.pyplot as plt\nplt.plot([1, 2])").error is None
    assert run("plt.get_fignums()").stdout == "[]\n"
    shown = run("import pandas\npandas.DataFrame({'a': [1, 2]}).sum()['a'].item()")
    assert (shown.error, shown.stdout) == (None, "3\n")
