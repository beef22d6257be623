"""Who changed what, and who was refused: kept beside what happened, never waited for."""
