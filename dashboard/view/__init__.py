"""From what was read to what is shown: pure functions, no I/O, no clock of their own."""
