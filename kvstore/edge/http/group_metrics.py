"""What /metrics has besides of a server that is one of a group: rows as those of `metrics_table`, each with the group.

Of another server it tells what that one has noted beside the log, some seconds ago; nothing while it was not heard of
since this server began. Who leads is asked of all servers together: a leader that is cut off thinks that it leads, and
its lease is over.
"""

from __future__ import annotations

from collections.abc import Callable

from kvstore.base.shared_log import Size
from kvstore.commands.membership import Life, Membership, Node
from kvstore.edge.http.metrics_table import Metric, Reading
from kvstore.edge.status import Sources


def _group(value: Callable[[Membership], float]) -> Callable[[Sources], Reading]:
    """Of the group as this server sees it."""

    def read(sources: Sources) -> Reading:
        group = sources.server.group
        return {} if group is None else {(group.group_name,): value(group)}

    return read


def _nodes(value: Callable[[Node], float]) -> Callable[[Sources], Reading]:
    """Of each other server whose life is known."""

    def read(sources: Sources) -> Reading:
        group = sources.server.group
        if group is None:
            return {}
        known = (node for node in group.others() if node.life is not Life.UNKNOWN)
        return {(group.group_name, str(node.address)): value(node) for node in known}

    return read


def _engine(value: Callable[[Size], int]) -> Callable[[Sources], Reading]:
    """Of the log's engine, once it was asked."""

    def read(sources: Sources) -> Reading:
        group = sources.server.group
        return {} if group is None or group.log_size is None else {(group.group_name,): value(group.log_size)}

    return read


_OF_GROUP = ("group",)
_OF_NODE = ("group", "node")

GROUP_METRICS: tuple[Metric, ...] = (
    Metric("group_leads", "gauge", "1 at the server that leads, or thinks that it does.",
           _group(lambda group: group.leads), _OF_GROUP),
    Metric("group_leader_heard", "gauge", "1 while the leader is heard of; at the leader, while its lease runs.",
           _group(lambda group: group.hears_leader), _OF_GROUP),
    Metric("group_epoch", "gauge", "Number of the newest leader's election: it grows by one with each.",
           _group(lambda group: group.epoch), _OF_GROUP),
    Metric("group_position", "gauge", "Number of the log's newest entry that this server has applied.",
           _group(lambda group: group.position), _OF_GROUP),
    Metric("group_node_alive", "gauge", "Of each other server: 1 while it is heard of, 0 when it is silent.",
           _nodes(lambda node: node.life is Life.ALIVE), _OF_NODE),
    Metric("group_node_position", "gauge", "Of each other server: the newest entry that it had some seconds ago.",
           _nodes(lambda node: node.position), _OF_NODE),
    Metric("group_log_used_bytes", "gauge", "What the engine of the group's log holds, of all that use it.",
           _engine(lambda size: size.used_bytes), _OF_GROUP),
    Metric("group_log_quota_bytes", "gauge", "Past how much the engine of the group's log takes nothing more.",
           _engine(lambda size: size.quota_bytes), _OF_GROUP),
)  # fmt: skip
