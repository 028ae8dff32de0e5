"""Where a record came from and what became of it: trace (one id), audit (every id), dead letters (what could not be used)."""
