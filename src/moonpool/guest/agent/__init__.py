"""The agent that runs as the first process of every sandbox; standard library only."""
