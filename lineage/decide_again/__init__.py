"""Decide again: past decisions computed anew from the log, and compared with what was served and stored."""
