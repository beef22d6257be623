"""Who may use single sandboxes of a team without a key of its own: identities, their tokens, their permissions."""
