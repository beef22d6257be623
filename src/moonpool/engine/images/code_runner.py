"""The image ``code-runner``: the base image with a Jupyter server on port 8888, and what most code for it imports."""

import json
from collections.abc import Iterable
from dataclasses import replace
from importlib import resources

from moonpool.engine.images.recipe import Link, Recipe, RootFile, base_recipe
from moonpool.engine.images.wheels import SCIPY, SEABORN

PORT = 8888
KERNEL = "wrenn"
USER = "wrenn-user"
HOME = f"/home/{USER}"

PACKAGES = ("jupyter-server", "python3-ipykernel", "python3-websocket")

# What lets a request in is the preview gateway before it, which knows keys and tokens; pages of other origins are
# refused by the server itself. Its own limits of output would drop large pictures; the sandbox's memory is the limit.
SERVER = {
    "ServerApp": {
        "ip": "0.0.0.0",  # noqa: S104 - of the sandbox
        "port": PORT,
        "port_retries": 0,
        "open_browser": False,
        "root_dir": HOME,
        "token": "",
        "password": "",
        "disable_check_xsrf": True,
        "allow_remote_access": True,
        "iopub_data_rate_limit": 1e9,
        "iopub_msg_rate_limit": 1e6,
        "jpserver_extensions": {},
    },
    "MappingKernelManager": {"default_kernel_name": KERNEL},
}

KERNEL_SPEC = {
    "argv": ["python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3",
    "language": "python",
    "metadata": {"debugger": False},
}

UNIT = f"""\
[Unit]
Description=Jupyter server

[Service]
User={USER}
WorkingDirectory={HOME}
ExecStart=/usr/bin/python3 -m jupyter_server
Restart=always
RestartSec=0.5

[Install]
WantedBy=multi-user.target
"""

LINKS = (Link("/etc/systemd/system/multi-user.target.wants/jupyter.service", "/etc/systemd/system/jupyter.service"),)


def code_runner_recipe(further: Iterable[str] = ()) -> Recipe:
    """The base image with a Jupyter server that starts with the sandbox."""
    base = base_recipe(further)
    packages = tuple(sorted({*base.packages, *PACKAGES}))
    wheels = (*base.wheels, SEABORN, SCIPY[base.architecture])
    return replace(base, packages=packages, wheels=wheels, files=(*base.files, *files()), links=(*base.links, *LINKS))


def files() -> tuple[RootFile, ...]:
    inside = resources.files(__package__).joinpath("code_runner_inside")
    config = "c.IPKernelApp.extensions = ['code_runner']\n"
    return (
        RootFile("/etc/jupyter/jupyter_server_config.json", json.dumps(SERVER, indent=2) + "\n"),
        RootFile("/etc/ipython/ipython_kernel_config.py", config),
        RootFile("/etc/systemd/system/jupyter.service", UNIT),
        RootFile(f"/usr/local/share/jupyter/kernels/{KERNEL}/kernel.json", json.dumps(KERNEL_SPEC, indent=2) + "\n"),
        RootFile("/usr/local/lib/python3.11/dist-packages/code_runner.py", inside.joinpath("extension.py").read_text()),
        RootFile("/usr/local/bin/code-runner-warm", inside.joinpath("warm.py").read_text(), 0o755),
    )
