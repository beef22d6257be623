"""The agent inside every sandbox, its protocol and its client."""
