"""The sandbox: its model, its legal transitions, its lifecycle, idle rules and recovery."""
