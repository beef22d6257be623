"""Programs inside sandboxes: commands, background processes, shell sessions, terminals, code, interpreters."""
