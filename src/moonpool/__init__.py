"""Moonpool: self-hosted sandboxes for AI agents."""
