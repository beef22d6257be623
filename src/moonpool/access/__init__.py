"""Users, teams, API keys and what each may do."""
