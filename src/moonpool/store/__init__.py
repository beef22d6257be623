"""Tables, migrations and units of work; used by features only."""
