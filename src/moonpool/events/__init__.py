"""What happened: an outbox written with each change, and streams of it to whoever listens."""
