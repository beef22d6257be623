"""Events to receivers outside: webhooks and channels, as durable rows that are sent until they arrive."""
