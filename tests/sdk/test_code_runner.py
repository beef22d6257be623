"""The image with a Jupyter server: Wrenn's code runner, and charts that programs inside draw."""

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from daytona import CreateSandboxFromSnapshotParams, Daytona, DaytonaConfig, Sandbox
from daytona.common.charts import BarChart, BoxAndWhiskerChart, CompositeChart, LineChart, PieChart, ScatterChart
from daytona.common.charts import parse_chart as parsed

from tests.sdk.wrenn.conftest import sdk_python
from tests.servers import Server

SCENARIO = Path(__file__).parent / "wrenn" / "code_runner.py"


@pytest.fixture(scope="module")
def server(server_factory: Callable[..., AbstractContextManager[Server]]) -> Iterator[Server]:
    with server_factory(MOONPOOL_CODE_RUNNER="true", MOONPOOL_POOL_SIZE="1") as running:
        yield running


@pytest.fixture(scope="module")
def sandbox(server: Server) -> Iterator[Sandbox]:
    client = Daytona(DaytonaConfig(api_key=server.api_key, api_url=f"{server.url}/api"))
    made = client.create(CreateSandboxFromSnapshotParams(snapshot="code-runner-beta"))
    yield made
    made.delete()


def play(version: str, server: Server) -> None:
    environment = {
        **os.environ,
        "WRENN_BASE_URL": server.url,
        "WRENN_API_KEY": server.api_key,
        "WRENN_PROXY_DOMAIN": f"localhost:{server.url.rpartition(':')[2]}",
        "NO_PROXY": "*",
        "PYTHONPATH": "",
    }
    command = [sdk_python(version), str(SCENARIO)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("version", ["0.3.0"])
def test_the_unchanged_sdk_runs_code(version: str, server: Server) -> None:
    play(version, server)


def test_memory_that_sandboxes_start_from_was_tried(server: Server, sandbox: Sandbox) -> None:
    """It does not always work; then the server has said so, and they start from the image."""
    log = (server.data / "server.log").read_text()
    kernel = sandbox.process.exec("curl -sf --retry 30 --retry-connrefused --retry-delay 1 localhost:8888/api/kernels")
    assert ("wrenn" in kernel.result) == ("snapshot_warmed" in log)
    assert "snapshot_warmed" in log or "snapshot_not_warmed" in log


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
