"""Git inside a sandbox: the image's own ``git``, run with the rights of the sandbox's user."""
