"""Runs the code that comes on standard input as ``__main__``; charts that it draws with matplotlib are reported.

The first line of the input is a word that nobody can guess: what follows it on a line of the output, after the code has
ended, is the list of charts (JSON). The first argument is the text of ``charts.py``, matplotlib's backend here. It is
made a module when matplotlib asks for it: code that does not use it pays nothing.
"""

# ruff: noqa: BLE001, S102, SIM115 - running code is what this is for, whatever it raises
from __future__ import annotations

from typing import Any

BACKEND = "module://moonpool_charts"


def _prepare() -> bytes:
    import os
    import sys

    word, _, code = sys.stdin.buffer.read().partition(b"\n")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)
    _offer_backend(word.decode(), sys.argv.pop(1))
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


def _offer_backend(word: str, charts: str) -> None:
    import atexit
    import os
    import sys
    from importlib.machinery import ModuleSpec

    class Finder:
        """Makes the module ``moonpool_charts`` when matplotlib asks for it, and not before.

        Which backend it is to use is said while it is imported alone, so that programs that the code starts do not
        look for one that they have not.
        """

        def find_spec(self, name: str, *_place: object) -> ModuleSpec | None:
            if name == "matplotlib":
                os.environ.setdefault("MPLBACKEND", BACKEND)
            elif name == "matplotlib.pyplot" and os.environ.get("MPLBACKEND") == BACKEND:
                del os.environ["MPLBACKEND"]
            return ModuleSpec(name, finder) if name == "moonpool_charts" else None

        def create_module(self, spec: ModuleSpec) -> None:
            return None

        def exec_module(self, module: Any) -> None:
            exec(compile(charts, "moonpool_charts", "exec", dont_inherit=True), module.__dict__)
            # What is registered last runs first: before matplotlib throws away the figures that were not shown.
            atexit.register(report, module)

    def report(module: Any) -> None:
        try:
            module.show()
        except Exception as error:  # what goes wrong with a chart is no reason to fail the code
            print("charts could not be read:", error, file=sys.stderr)
        if module.taken:
            _write(word, module.taken)

    finder: Any = Finder()
    sys.meta_path.insert(0, finder)


def _write(word: str, charts: list[dict[str, Any]]) -> None:
    import json
    import os
    import sys

    sys.stdout.flush()
    rest = memoryview(("\n" + word + json.dumps(charts)).encode())
    while rest:
        rest = rest[os.write(1, rest) :]


exec(compile(_prepare(), "<string>", "exec", dont_inherit=True), _main_names())
