"""`python -m kvstore.tools`.

Python has put the working directory first among the places where it looks for modules. That may be the data directory,
or any other where somebody has left a file json.py: nothing is imported from there, but for kvstore itself, which was
found by now. (`python -P` leaves it out from the beginning.)
"""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]

from kvstore.tools.main import main

sys.exit(main())
