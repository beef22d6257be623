"""Copies of disks outside of the pool: compressed, checked, in a folder or an S3-compatible store."""
