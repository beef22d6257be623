"""A Python that keeps its variables between pieces of code.

A line of standard input is a request (JSON: id, code, envs), a line of the original standard output an event (JSON: id,
type, ...). Descriptors 1 and 2 are pipes that two threads read, so that what child processes print is seen as well.
SIGINT interrupts the code that runs, and nothing else. What can show itself as more than text does so in events of type
``display``, by its kinds (MIME types; bytes as base64), the way Jupyter's kernels ask it to. The first argument is the
text of ``charts.py``, matplotlib's backend here.
"""

# ruff: noqa: BLE001, S102, SIM115 - running code is what this is for, whatever it raises
from __future__ import annotations

import ast
import base64
import builtins
import codecs
import contextlib
import json
import linecache
import os
import signal
import sys
import threading
import traceback
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Iterator, NoReturn  # noqa: UP035 - Python 3.8

FILE = "<interpreter>"
PIPES = {1: "stdout", 2: "stderr"}
BACKEND = "module://moonpool_charts"
MAX_DISPLAY = 16 * 1024 * 1024  # characters of one display, encoded
REPRESENTATIONS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_pdf_": "application/pdf",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
}


class Events:
    """What goes back to the server, a JSON line each, from whatever thread."""

    def __init__(self) -> None:
        self.request = ""
        self._descriptor = os.dup(1)
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """Whoever held the lock is not in a forked child."""
        self._lock = threading.Lock()

    def send(self, **event: Any) -> None:
        rest = memoryview((json.dumps({"id": self.request, **event}) + "\n").encode())
        with self._lock:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


class Capture:
    """Descriptors 1 and 2, read as they are written."""

    def __init__(self, events: Events) -> None:
        self._events = events
        # A word that no code can print by accident: it tells the reader of a pipe that a piece of code has ended.
        self._word = os.urandom(16)
        self._drained = threading.Semaphore(0)
        for descriptor, name in PIPES.items():
            source, sink = os.pipe()
            os.dup2(sink, descriptor)
            os.close(sink)
            threading.Thread(target=self._read, args=(source, name), daemon=True).start()
        sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)

    def drain(self) -> None:
        """Everything that was written has been sent when this returns."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        for descriptor in PIPES:
            os.write(descriptor, self._word)
        for _ in PIPES:
            self._drained.acquire()

    def _read(self, source: int, name: str) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pending = b""
        while True:
            pending += os.read(source, 65536)
            ready, mark, rest = pending.partition(self._word)
            if not mark:
                kept = overlap(pending, self._word)
                ready, rest = pending[: len(pending) - kept], pending[len(pending) - kept :]
            pending = rest
            text = decoder.decode(ready, final=bool(mark))
            if text:
                self._events.send(type=name, text=text)
            if mark:
                self._drained.release()


def overlap(data: bytes, word: bytes) -> int:
    """How many bytes at the end of ``data`` may be the beginning of ``word``."""
    for length in range(min(len(word) - 1, len(data)), 0, -1):
        if data.endswith(word[:length]):
            return length
    return 0


class Displays:
    """What shows itself as more than text, and the figures that matplotlib has drawn."""

    def __init__(self, events: Events, charts: str) -> None:
        self._events = events
        self._charts = charts
        sys.meta_path.insert(0, self)
        sys.displayhook = self.result
        builtins.display = self.display  # type: ignore[attr-defined]

    def display(self, *values: Any) -> None:
        """For the code that runs."""
        for value in values:
            self._send({"text/plain": repr(value), **representations(value)}, main=False)

    def result(self, value: Any) -> None:
        """An expression at the end: printed as at a prompt, and shown where that says more."""
        if value is None:
            return
        builtins._ = None  # type: ignore[attr-defined]
        text = repr(value)
        print(text)
        rich = representations(value)
        if rich:
            self._send({"text/plain": text, **rich}, main=True)
        builtins._ = value  # type: ignore[attr-defined]

    def take_figures(self) -> None:
        """Those that are still open when a piece of code has ended."""
        module: Any = sys.modules.get("moonpool_charts")
        if module is not None:
            try:
                module.show()
            except Exception as error:
                print("charts could not be read:", error, file=sys.stderr)

    def _figure(self, chart: dict[str, Any]) -> None:
        self._send({"image/png": chart.pop("png")}, main=False, chart=chart)

    def _send(self, data: dict[str, Any], **fields: Any) -> None:
        encoded = json.dumps({"type": "display", "data": data, **fields}, default=encodable)
        if len(encoded) > MAX_DISPLAY:
            raise ValueError(f"too large to be displayed: more than {MAX_DISPLAY >> 20} MiB")
        self._events.send(**json.loads(encoded))

    # As a finder it makes matplotlib's backend when that is asked for. Which one is to be used is said while matplotlib
    # is imported alone, so that programs that the code starts do not look for one that they have not.

    def find_spec(self, name: str, *_place: object) -> ModuleSpec | None:
        if name == "matplotlib":
            os.environ.setdefault("MPLBACKEND", BACKEND)
        elif name == "matplotlib.pyplot" and os.environ.get("MPLBACKEND") == BACKEND:
            del os.environ["MPLBACKEND"]
        return ModuleSpec(name, self) if name == "moonpool_charts" else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(compile(self._charts, "moonpool_charts", "exec", dont_inherit=True), module.__dict__)
        module.take = self._figure


def representations(value: Any) -> dict[str, Any]:
    """By kind, without its text; one that cannot be made is none."""
    found: dict[str, Any] = {}
    if isinstance(value, type):
        return found
    with contextlib.suppress(Exception):
        bundle = value._repr_mimebundle_()
        found.update(bundle[0] if isinstance(bundle, tuple) else bundle)
    for method, kind in REPRESENTATIONS.items():
        with contextlib.suppress(Exception):
            shown = getattr(value, method)()
            shown = shown[0] if isinstance(shown, tuple) else shown
            if shown is not None:
                found.setdefault(kind, shown)
    return found


def encodable(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, (bytes, bytearray)) else repr(value)


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def parts(code: str) -> Iterator[Any]:
    """Code objects; an expression at the end is shown as at a prompt."""
    linecache.cache[FILE] = (len(code), None, code.splitlines(True), FILE)
    tree = ast.parse(code, FILE)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    yield compile(tree, FILE, "exec", dont_inherit=True)
    if last is not None:
        yield compile(ast.Interactive([last]), FILE, "single", dont_inherit=True)


def run(code: str, names: dict[str, Any]) -> dict[str, str] | None:
    """What went wrong; KeyboardInterrupt passes through."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for part in parts(code):
            exec(part, names)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        frames = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, frames))
        return {"name": type(error).__name__, "value": text_of(error), "traceback": text}
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return None


def text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "<unprintable>"


def leave(error: dict[str, str] | None) -> NoReturn:
    """The end of a child that the code has forked, and that came back: who asked waits for its parent."""
    status = 1 if error else 0
    with contextlib.suppress(BaseException):
        if error and error["name"] == "SystemExit":
            status = int(error["value"].replace("None", "0") or 0) & 0xFF
        elif error:
            sys.stderr.write(error["traceback"])
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    events = Events()
    capture = Capture(events)
    displays = Displays(events, sys.argv.pop(1))
    # What is pickled by its name is looked for in the module that is called so.
    sys.modules["__main__"] = module = ModuleType("__main__")
    names = module.__dict__
    names["__builtins__"] = __builtins__
    me = os.getpid()
    for line in requests:
        request = json.loads(line)
        events.request = request["id"]
        error, ending = None, "completed"
        try:
            with environment(request.get("envs") or {}):
                error = run(request["code"], names)
                if os.getpid() == me:
                    displays.take_figures()
        except KeyboardInterrupt:
            ending = "interrupted"
        finally:
            if os.getpid() != me:
                leave(error)
        capture.drain()
        if error:
            events.send(type="error", **error)
        events.send(type="control", text=ending)


main()
