"""The ``moonpool`` command."""
