"""Training: pure functions from a table of labelled feature rows to a candidate model with everything the gate wants to know about it."""
