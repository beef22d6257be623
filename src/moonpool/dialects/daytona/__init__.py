"""The Daytona API: wire to services and back, and nothing else."""
