"""The vendors' wire APIs, each mapped to the same services."""
