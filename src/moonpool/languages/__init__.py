"""Language servers inside a sandbox: the image's own, one for each project and language, shared by all clients."""
