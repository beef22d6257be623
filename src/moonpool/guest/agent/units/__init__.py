"""The service manager: unit files as systemd has them, kept by the agent itself, which is the first process anyway."""
