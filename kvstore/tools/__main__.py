"""`python -m kvstore.tools`."""

import sys

import kvstore.base.safe_path  # noqa: F401  before all others
from kvstore.tools.main import main

sys.exit(main())
