"""Who may see what sandboxes serve: preview tokens, and the hosts that a team trusts."""
