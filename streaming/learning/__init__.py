"""What belongs to the online learner alone: its state, and how that travels through the log."""
