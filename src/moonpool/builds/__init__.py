"""Recipes becoming snapshots: images, Dockerfiles, their layers, their logs."""
