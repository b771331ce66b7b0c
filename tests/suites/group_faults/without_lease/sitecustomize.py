"""The negative control: in servers that find this beside Python's modules, the lease is not looked at before a read
leaves. Never imported by anything else: see `--control`.
"""

from kvstore.edge.group.node import GroupNode
from kvstore.store.replica import Role


def _may_leave(node: GroupNode) -> bool:
    """As GroupNode's, with the check of the lease taken out."""
    return node.replica.role is not Role.LEADING or node._settings.reads == "lease"


GroupNode._may_leave = _may_leave  # type: ignore[method-assign]
