"""What every dialect shares: the services, authentication, request helpers."""
