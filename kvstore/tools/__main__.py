"""`python -m kvstore.tools`."""

import sys

from kvstore.tools.main import main

sys.exit(main())
