"""Programs that run inside a sandbox, with its own interpreter."""
