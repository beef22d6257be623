"""What sandboxes start from."""
