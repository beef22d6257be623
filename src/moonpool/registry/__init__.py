"""The server's own registry of images: what teams push here, and build snapshots from."""
