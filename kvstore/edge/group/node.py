"""A server's life in a group: it follows the shared log, campaigns when nobody leads, leads, and ends.

    start      recovery tells what is here; follow from there
    follow     each entry of the watch is applied, written, settled: clients that read here see it
    campaign   by a timer: nothing was seen for too long; the watch stops, a leadership entry is appended,
               if the log still has the newest entry that is here
    lead       the open commit goes to the log as an entry, in every turn that has one; an empty one if nothing else
               renews the lease in time
    join       the log begins behind what is here: another's checkpoint is fetched, and the process begins anew with it
    end        another leads: clients are closed at once, and the process ends (see `parent`)

What each of these means, and when it is allowed, is decided by `kvstore.store.replica`; here it meets the log, the
timers, the store and the clients.

The clock is CLOCK_BOOTTIME, which does not stand still while the machine sleeps: a leader that slept must not think
that its lease runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import SystemRandom
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from kvstore.base.address import Address
from kvstore.base.chance import Chance
from kvstore.base.cluster_map import ClusterRegister
from kvstore.base.errors import StartRefused, StorageFault, StorageFull
from kvstore.base.limits import ENTRY_HEADING_BYTES, MIB
from kvstore.base.shared_log import Appended, Entry, Read, SharedLog, Watch
from kvstore.commands.context import Server
from kvstore.commands.membership import bar
from kvstore.edge.group.cluster import ClusterPart, check_slots
from kvstore.edge.group.compacting import Compacting
from kvstore.edge.group.joining import Fetch, Joining
from kvstore.edge.group.lending import Lending
from kvstore.edge.group.member import Member
from kvstore.edge.group.peers import Peers
from kvstore.edge.group.quick_ways import ClusterReads
from kvstore.edge.group.reads import Reads
from kvstore.edge.group.trimming import Trimming
from kvstore.edge.group.writer import SharedLogWriter
from kvstore.edge.group_commit import GroupCommit
from kvstore.edge.settings import GroupSettings
from kvstore.edge.turn import Turn
from kvstore.edge.writers import InLoopWriter
from kvstore.session.hooks import Hooks
from kvstore.store.beginning import Beginning
from kvstore.store.group_store import GroupStore
from kvstore.store.operations import UnknownOperation
from kvstore.store.replica import End, Ended, Replica, Role

_log = Logger()

_NS_PER_S = 1_000_000_000
#: An open commit with so many bytes is not to grow much more: a request may add nearly MAX_ENTRY_BYTES to it.
_LARGE_COMMIT_BYTES = 1 * MIB
#: How soon an entry is tried again that there was no room for.
_NO_ROOM_S = 1.0
#: For how long a stop waits for another leader: longer than an entry takes, unless etcd has none to take it.
_LEAVING_S = 1.0


def boot_ns() -> int:
    """CLOCK_BOOTTIME, in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _is_empty(store: GroupStore) -> bool:
    return not any(table.values for table in store.tables)


class GroupNode(Service):
    """See the module. `member`: what others see of it. Made when the store is recovered; `join` comes before any
    client.

    `log`: the shared one, as this run of the server sees it. `ends`: called when this server cannot go on; nothing may
    be acknowledged after it. `now_ns`: see the module. `register`: of the cluster, if the settings have slots.
    `connect`: to another server, see `Joining`.
    """

    def __init__(
        self,
        reactor: Any,
        settings: GroupSettings,
        store: GroupStore,
        log: SharedLog,
        ends: Callable[[Ended], None],
        connect: Callable[[Address, Fetch], None],
        chance: Chance | None = None,
        now_ns: Callable[[], int] = boot_ns,
        register: ClusterRegister | None = None,
    ) -> None:
        self._connect = connect
        self._chance = chance or SystemRandom()
        self._joining: Joining | None = None
        self._reactor = reactor
        self._settings = settings
        self._store = store
        self._log = log
        self._ends = ends
        self.now_ns = now_ns
        standing = store.standing
        if standing is None:
            raise StartRefused(
                "the data are those of a server by itself; a group begins with empty directories: start it with an"
                " empty one, and bring the data in through a client"
            )
        check_slots(standing, settings.slots, is_empty=_is_empty(store))
        self._peers = Peers(settings.advertise, lambda: now_ns() / _NS_PER_S)
        lending = Lending(reactor)
        store.is_lent = lending.is_on
        self.member = Member(self, settings.name, settings.advertise, store, log, self._peers, lending)
        self.cluster: ClusterPart | None = None
        if settings.slots is not None and register is not None:
            self.cluster = ClusterPart(self.member, register, settings.slots, reactor.callLater)
        #: What the group's log is to say of slots with the next entry; None: nothing.
        self._slots_to_enter: str | None = None
        self.replica = Replica(str(settings.advertise), standing, settings.lease_ms, self._chance, now_ns())
        self.writer = SharedLogWriter(store, log, self._appended)
        self._local_writer = InLoopWriter(store, sync=False)
        self._watch: Watch | None = None
        self._timer: IDelayedCall | None = None
        self._compacting = Compacting(reactor, self.member, store, log, self._peers)
        self._trimming = Trimming(reactor, self.member, store, log, self._peers, self._compacting)
        #: An entry that was seen, and for which there was no room.
        self._unapplied: tuple[int, bytes, Entry] | None = None
        #: To whom leading is being handed over; None: to nobody.
        self.successor: Address | None = None
        #: Fires when that has been done, so that the server may stop.
        self._left: Deferred[None] | None = None

    def reads(self, server: Server, turn: Turn) -> Reads:
        """What the replies of reads wait for."""
        reads = Reads if self.cluster is None else ClusterReads
        return reads(server, turn, self.replica, self.now_ns, trusts_lease=self._settings.reads == "lease")

    def join(self, server: Server, commit: GroupCommit, hooks: Hooks) -> None:
        """What the log says changes the databases from now on, and clients find in `server` what group this is."""
        self._server, self._commit = server, commit
        hooks.size_limit, hooks.commit_now = _LARGE_COMMIT_BYTES, self._commit_is_large
        commit.watchers.append(lambda *_: server.pause.congest(False))
        commit.has_no_room = self._no_room
        self._store.begin_following()
        server.group = self.member
        self._compacting.begin = lambda: server.compact_now()
        bar(self._server)

    def startService(self) -> None:
        """Follow."""
        super().startService()
        self._follow()
        self._trimming.start()
        if self.cluster is not None:
            self.cluster.start()

    def stopService(self) -> None:
        """Follow no more. A leader leads no more, for all that others will see of it."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._trimming.stop()
        self._stop_watching()
        if self._joining is not None:
            self._joining.stop()
        self._log.stop()
        if self.cluster is not None:
            self.cluster.stop()

    # Following

    def _follow(self) -> None:
        self._watch = self._log.watch(self.replica.standing.position + 1, self._seen, self._trimmed)
        self._wait()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _seen(self, position: int, data: bytes) -> None:
        leader, slots = self.replica.leader, self.replica.standing.slots
        try:
            entry = self.replica.saw(position, data, self.now_ns())
        except Ended as ended:
            self._end(ended)
            return
        if self.replica.standing.slots != slots and not self._obeys_slots():
            return
        if self.replica.leader not in (leader, ""):
            _log.info("{leader} leads the group, as of entry {position}", leader=self.replica.leader, position=position)
        if self._apply(position, data, entry):
            self._wait()

    def _apply(self, position: int, data: bytes, entry: Entry) -> bool:
        """Apply an entry that the log has; later, and nothing else before, if there is no room now. Returns whether it
        was.
        """
        try:
            commit = self._store.follow(position, data, entry)
        except StorageFull as full:
            _log.warn("entry {position} waits for room: {reason}", position=position, reason=full.text)
            self._stop_watching()
            self._unapplied = position, data, entry
            self._wait()
            return False
        except StorageFault as fault:
            self._commit.failed(fault)
            return False
        except UnknownOperation as newer:
            self._end(self.replica.end(End.NEWER, str(newer)))
            return False
        except Exception as error:
            _log.failure("bug while entry {position} was applied", position=position)
            self._end(self.replica.end(End.DIFFERS, f"it could not be applied: {error!r}"))
            return False
        self._server.send_messages(commit.sequence, None)
        self._commit.put(commit, self._local_writer)
        if self._server.waiting.places:
            self._server.waiting.serve()
        return True

    # Joining

    def _trimmed(self, first: int) -> None:
        """The next entry is gone: fetch a checkpoint that has it. Nobody is led meanwhile, and no entry applied."""
        _log.warn(
            "it has entries up to {position}, and the log begins with {first}: fetching another server's checkpoint",
            position=self.replica.standing.position, first=first,
        )  # fmt: skip
        self._watch = None
        self._joining = Joining(
            self._reactor, self._log, self._connect, self._settings.login, self._settings.advertise, first - 1,
            self._store.fetch, self._joined, self._chance,
        )  # fmt: skip
        self._joining.start()

    def _joined(self, place: Address, position: int) -> None:
        self._end(self.replica.end(End.JOINED, f"that of {place}, up to entry {position}"))

    # The one timer: it is time to campaign, to renew the lease, or to try again

    def _wait(self) -> None:
        """Have `_is_time` called when it may be, or before: it looks again. A timer for each entry would cost more."""
        if self._joining is not None:
            return
        due_s = max(0.0, self._due_ns() - self.now_ns()) / _NS_PER_S
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= self._reactor.seconds() + due_s:
                return
            self._timer.cancel()
        self._timer = self._reactor.callLater(due_s, self._is_time)

    def _due_ns(self) -> int:
        if self._unapplied is not None:
            return self.now_ns() + int(_NO_ROOM_S * _NS_PER_S)
        return self.replica.renew_at_ns if self.replica.role is Role.LEADING else self.replica.campaign_at_ns

    def _is_time(self) -> None:
        replica = self.replica
        if self._joining is not None:
            return
        if self._unapplied is not None:
            unapplied, self._unapplied = self._unapplied, None
            if self._apply(*unapplied):
                self._follow()
            return
        if replica.role is Role.FOLLOWING and self.now_ns() >= replica.campaign_at_ns:
            self._campaign()
        elif replica.role is Role.LEADING and not replica.is_sending and self.now_ns() >= replica.renew_at_ns:
            self._commit.commit_now(even_if_empty=True)
        if replica.role is Role.FOLLOWING or (replica.role is Role.LEADING and not replica.is_sending):
            self._wait()

    # Campaigning, and leading

    def _campaign(self) -> None:
        self._stop_watching()
        position = self.replica.standing.position + 1
        _log.info("nobody leads the group: campaigning with entry {position}", position=position)
        entry = self.replica.campaign(self._store.leader_us(), self.now_ns())
        self._log.read(max(1, position - 1), lambda found: self._send_candidate(position, entry, found))

    def _send_candidate(self, position: int, data: bytes, found: Read) -> None:
        """If the log has what is here."""
        try:
            self.replica.check(found)
        except Ended as ended:
            self._end(ended)
        else:
            self._log.append(position, data, lambda outcome: self._campaigned(position, data, outcome))

    def _campaigned(self, position: int, data: bytes, outcome: Appended) -> None:
        try:
            entry = self.replica.appended(outcome, self.now_ns())
        except Ended as ended:
            self._end(ended)
            return
        if entry is None:
            self._follow()
        elif self._apply(position, data, entry):
            self._lead()
        elif self.replica.role is Role.LEADING:
            self._no_room()

    def _lead(self) -> None:
        if not self._obeys_slots():
            return
        self._store.begin_leading(self)
        bar(self._server)
        _log.info("leads the group, as of entry {position}", position=self.member.position)
        self._wait()
        if self.cluster is not None:
            self.cluster.look_at_once()

    def _no_room(self) -> None:
        """Let another lead: without room there are no entries, and without them no lease."""
        self._end(self.replica.end(End.FENCED, "there is no room on the disk of this one"))

    def _commit_is_large(self) -> None:
        """The open commit is on its way now, or as soon as the one before is in the log; until then writes wait: past
        what an entry may have they would be errors.
        """
        if self._commit.is_in_flight:
            self._server.pause.congest(True)
        else:
            self._commit.commit_now()

    @property
    def size_bytes(self) -> int:
        """See `Heading`."""
        return ENTRY_HEADING_BYTES

    def begin(self, sequence: int, time_us: int, operations: bytes) -> tuple[Beginning, bytes]:
        """See `Heading`: the entry that a commit is."""
        entry = self._compose(time_us, operations)
        return Beginning(entry=self.replica.sent), entry

    def _compose(self, time_us: int, operations: bytes) -> bytes:
        """An empty one hands over, or says what slots the group has, if that is to be done."""
        if self.successor is not None and not operations:
            return self.replica.compose_handover(str(self.successor), time_us, self.now_ns())
        if self._slots_to_enter is not None and not operations:
            return self.replica.compose_slots(self._slots_to_enter, time_us, self.now_ns())
        return self.replica.compose(operations, time_us, self.now_ns())

    def _appended(self, outcome: Appended) -> bool:
        """What became of an entry of this leader's; returns whether it goes on."""
        try:
            self.replica.appended(outcome, self.now_ns())
        except Ended as ended:
            self._end(ended)
            return False
        if self.replica.role is Role.FOLLOWING:
            self._end(self.replica.end(End.HANDED_OVER, f"{self.successor} is to lead"))
            return False
        if self.cluster is not None:
            self._slots_to_enter = None if self.replica.standing.slots else self._slots_to_enter
            self.cluster.obey_log()
        if self.successor is None:
            self._wait()
        else:
            self._reactor.callLater(0, self._hand_over)
        return True

    # Ending

    def hand_over(self, to: Address) -> None:
        """Let that one lead, with the next entry: no more is executed here. This server leads."""
        self.successor = to
        bar(self._server)
        self._reactor.callLater(0, self._hand_over)

    def leave(self) -> Deferred[None]:
        """The server is about to stop: let another lead, if this one does. Fires when it is so, or takes too long."""
        if not self.member.leads or self._peers.is_alone or self._store.failed is not None:
            return succeed(None)
        _log.info("stopping: another is to lead")
        self._left = Deferred()
        self.member.hand_over(None)
        return self._left.addTimeout(_LEAVING_S, self._reactor, lambda *_: None)

    def _hand_over(self) -> None:
        """With the next commit that is empty, though somebody waits for it, who is told nothing then."""
        if self.replica.role is Role.LEADING:
            self._commit.commit_now(even_if_empty=True)

    def _end(self, ended: Ended) -> None:
        """Nothing more is acknowledged. Of a newer version's entries nothing is understood: then what is here stays to
        be read.
        """
        self._stop_watching()
        if self._left is not None:
            if not self._left.called:
                self._left.callback(None)
        elif ended.end is End.NEWER:
            _log.critical("{reason}; this server follows no more, and what it holds grows old", reason=str(ended))
            bar(self._server)
        else:
            self._ends(ended)

    def trim(self) -> None:
        """See `Membership`."""
        self._compacting.tell()

    def cover(self, position: int) -> None:
        """See `Compacting`."""
        self._compacting.cover(position)

    # Of a cluster: see `Group` of `cluster`

    def enter_slots(self, slots: str) -> None:
        """See `Group`. With the next commit that is empty; the cluster asks again until it is there."""
        self._slots_to_enter = slots
        self._commit.commit_now(even_if_empty=True)

    def cannot_lead(self, reason: str) -> None:
        """See `Group`."""
        self._end(self.replica.end(End.SLOTS, reason))

    def _obeys_slots(self) -> bool:
        """The log says which slots the group has: returns whether this server was started with those, else it ends."""
        try:
            check_slots(self.replica.standing, self._settings.slots, is_empty=_is_empty(self._store))
        except StartRefused as refused:
            self.cannot_lead(str(refused))
            return False
        if self.cluster is not None:
            self.cluster.obey_log()
        return True
