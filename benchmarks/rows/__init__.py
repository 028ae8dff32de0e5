"""One module a hop; each has ``rows(folder)``, a context manager that starts what its rows need and yields them."""
