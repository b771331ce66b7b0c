"""What makes `twistd kvstore` known to twistd: one name. Everything is in `kvstore.edge.tap`.

It imports nothing of ours: twistd loads every plugin file to list the commands, and hides an import error in one as
"Unknown command".
"""

from twisted.application.service import ServiceMaker

kvstore = ServiceMaker("kvstore", "kvstore.edge.tap", "A crash-only key-value server", "kvstore")
