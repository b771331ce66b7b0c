"""Imported before anything else by what `python -m` starts: no module is found by chance where the program is run.

Python puts the working directory first among the places where it looks. That may be the data directory, or any other
where somebody has left a file json.py, and it would be run. So it is taken away, unless kvstore itself is there: that
is a checkout. `python -P` leaves it out from the beginning, before Python has imported what it needs for `-m`.
"""

from __future__ import annotations

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()] != [_ROOT]:
    del sys.path[0]
