"""``python -m mliot.cli`` is ``mliot``."""

from mliot.cli import main

main()
