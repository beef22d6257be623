"""The preview gateway: from a request's host name to a port in a sandbox, and the bytes between them."""
