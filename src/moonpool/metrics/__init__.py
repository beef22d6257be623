"""Figures over time: of each sandbox, of each team, and what teams used."""
