"""The host agent: capacity, warm pool, sleep, recovery. The boundary to a machine: plain data and streams cross it."""
