"""How a sandbox physically exists: gVisor, storage, network, images. No business rules, no HTTP, no SQL."""
