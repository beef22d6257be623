"""``python -m moonpool`` is ``moonpool``."""

from moonpool.cli.main import main

main()
