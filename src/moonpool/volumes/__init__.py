"""Volumes: disks of their own that sandboxes share."""
