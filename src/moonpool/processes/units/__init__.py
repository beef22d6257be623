"""Services that a sandbox's own manager keeps: unit files, their states, their journal."""
