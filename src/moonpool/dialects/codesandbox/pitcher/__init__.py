"""The agent protocol: one WebSocket a client, msgpack maps in binary frames."""
