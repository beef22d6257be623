"""A team's named secrets, which its sandboxes get as environment variables."""
