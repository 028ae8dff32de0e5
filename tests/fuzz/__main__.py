"""``python -m tests.fuzz``: see :mod:`tests.fuzz.command`. (What a child process runs must not stand in a ``__main__``.)"""

import sys

from tests.fuzz.command import main

if __name__ == "__main__":
    sys.exit(main())
