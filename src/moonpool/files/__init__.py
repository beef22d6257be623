"""Files inside sandboxes: read, write, list, search, transfer."""
