"""The negative control: in servers that find this beside Python's modules, the lease is not looked at before a read
leaves. Never imported by anything else: see `--control`.
"""

from kvstore.edge.group.reads import Reads
from kvstore.store.replica import Role


def _may_leave(reads: Reads) -> bool:
    """As that of Reads, with the check of the lease taken out."""
    return reads._replica.role is not Role.LEADING or reads._trusts_lease


Reads.may_leave = _may_leave  # type: ignore[method-assign]
