"""Access to sandboxes by SSH: terminals, commands, files and ports, to whoever has a sandbox's token."""
