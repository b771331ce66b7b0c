"""Every limit of the server, and of our clients, with its unit and its precedent. Tested at limit-1, limit, limit+1."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

#: Largest request, in bytes, in any grammar (`--max-request-bytes`). Redis: proto-max-bulk-len 512 MiB; we hold a
#: request in memory whole, so the default is smaller.
MAX_REQUEST_BYTES = 64 * MIB

#: What `--max-request-bytes` may be set to, in bytes. Below, not even the clients' greetings fit; above, Redis stops
#: too.
LEAST_REQUEST_BYTES = 1 * KIB
MOST_REQUEST_BYTES = 512 * MIB

#: Most bytes of requests that a MULTI block may hold before EXEC, counting QUEUED_WORD_BYTES more for each word.
#: Redis counts them to the client's query buffer, client-query-buffer-limit 1 GiB.
MAX_TRANSACTION_BYTES = MAX_REQUEST_BYTES

#: What a queued word takes besides its own bytes: sys.getsizeof(b"") + a place in a list, and the request's share.
QUEUED_WORD_BYTES = 64

#: Longest pattern with wildcards, in bytes, of KEYS, SCAN, PSUBSCRIBE and such, and longest one that has others than
#: `*`. Redis has no limit of its own; here a pattern is compiled, which takes memory and time many times its length:
#: some 5 ms for the worst of them.
MAX_PATTERN_BYTES = 4 * KIB
MAX_SET_PATTERN_BYTES = 512

#: Most stars of a pattern, but for one at its end, past which it matches nothing. Redis: stringmatchlen's nesting.
MAX_STARS = 1000

#: Longest pattern whose stars are counted, in bytes: that takes 10 ms. A longer one is refused.
MAX_COUNTED_PATTERN_BYTES = 128 * KIB

#: Most bytes that one client's subscriptions may take: SUBSCRIPTION_BYTES for each, and its name, that of a pattern
#: COMPILED_BYTES times. Redis has no limit.
MAX_SUBSCRIPTION_BYTES = 64 * MIB

#: What a subscription takes besides its name, if nobody else has it: a dict of one client, sys.getsizeof(b""), and a
#: place in each of two dicts that have just grown.
SUBSCRIPTION_BYTES = 512

#: What a byte of a pattern may take once it is compiled: `*a` becomes twelve codes of four bytes, and eight of text.
COMPILED_BYTES = 32

#: Most bytes of what is remembered of the keys that clients with caches have read: TRACKED_KEY_BYTES for each key, and
#: its own, and TRACKED_READER_BYTES for each reader. Redis: tracking-table-max-keys 1,000,000, however long they are.
MAX_TRACKED_BYTES = 256 * MIB

#: A place in a dict that has just grown, and sys.getsizeof(b""); a place in a set that has just grown.
TRACKED_KEY_BYTES = 150
TRACKED_READER_BYTES = 100

#: Most elements of one RESP request (`--max-request-words`). Redis before 7: 1024 * 1024.
MAX_REQUEST_ELEMENTS = 1024 * 1024

#: What it may be set to at least: enough for a client's greeting, and for whoever is to set it back.
LEAST_REQUEST_WORDS = 16

#: Longest header line (`*N`, `$N`) of a RESP request, in bytes. Redis: PROTO_INLINE_MAX_SIZE 64 KiB.
MAX_HEADER_BYTES = 64 * KIB

#: Longest line of words whose first is no verb of our own, in bytes without the line end. Redis: PROTO_INLINE_MAX_SIZE.
MAX_INLINE_BYTES = 64 * KIB

#: Unread replies, in bytes, past which we stop reading from a client (`--pause-reading-bytes`).
PAUSE_READING_BYTES = 1 * MIB

#: Unread replies, in bytes, past which a client is dropped (`--drop-client-bytes`). A single reply larger than that is
#: refused with an error instead of being built. Redis: client-output-buffer-limit.
DROP_CLIENT_BYTES = 256 * MIB

#: Unread replies of a client, in Redis's syntax: past the first number of bytes it is dropped, and when it has had more
#: than the second for so many seconds; the class pubsub is who subscribes (`--client-output-buffer-limit`). A reader
#: that takes 0.7 MiB a second has the largest reply in time. Redis: none for normal ones, and these for subscribers.
OUTPUT_LIMITS = (
    f"normal {DROP_CLIENT_BYTES} {DROP_CLIENT_BYTES // 4} 300 slave {DROP_CLIENT_BYTES} {DROP_CLIENT_BYTES // 4} 300"
    f" pubsub {32 * MIB} {8 * MIB} 60"
)

#: A string in a reply that is at least so long, in bytes, is sent from where it is instead of being copied into the
#: reply. Redis copies replies into chunks of 16 KiB, PROTO_REPLY_CHUNK_BYTES.
LONG_STRING_BYTES = 16 * KIB

#: A request, or a reply, of at least so many bytes is large: the one comes in several parts, since less is read from a
#: socket at once, and the other leaves as `Pieces`. So COMMANDLOG need not look at those that are not.
LARGE_BYTES = 128 * KIB

#: Milliseconds that one client's requests may take in one turn of the loop before others have theirs
#: (`--client-share-ms`). Redis: none; one request, but a whole pipeline too, is executed to its end.
CLIENT_SHARE_MS = 5

#: What it may be set to at most: past that one client would hold all others for longer than anybody's patience.
MOST_CLIENT_SHARE_MS = 10_000

#: Milliseconds for which a group's leader leads after each entry of its own (`--lease-ms`): when it dies, another leads
#: after at least 1.25 times as many; an etcd that has lost its own leader has another within 1 to 2 s, and should find
#: ours as it was. Redis: cluster-node-timeout, 15 s.
LEASE_MS = 2000
LEAST_LEASE_MS, MOST_LEASE_MS = 100, 60_000

#: Unfinished requests of all clients together, in bytes of memory; past it the client that holds most is dropped
#: (`--max-input-bytes`). Twice the largest request, if that is more. Redis: maxmemory-clients, by default none.
MAX_INPUT_BYTES = 256 * MIB

#: Which keys go when memory is short (`--max-memory-policy`): Redis's maxmemory-policy.
MEMORY_POLICIES = (
    "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-lfu", "allkeys-random",
    "noeviction",
)  # fmt: skip

#: What `--max-memory` may be at most, in bytes; more than there is. Redis: 64 bits.
MOST_MEMORY_BYTES = 2**63 - 1

#: Bytes of one client's unfinished requests that are not worth counting: what is cut off by a read is rarely more.
UNCOUNTED_INPUT_BYTES = 4 * KIB

#: What these three may be set to at most, in bytes: past it a client's unread replies are no limit to memory any more.
MOST_BUFFERED_BYTES = 64 * 1024 * MIB

#: Most clients connected at once (`--max-clients`). Redis: maxclients 10000.
MAX_CLIENTS = 10_000

#: So many clients one address may have in any case, and else half of all, so that it cannot keep all others out
#: (`--max-clients-per-address`). An IPv6 network of 64 bits counts as one. HAProxy and nginx have none unless told.
FEW_CLIENTS = 128

#: Seconds that a client may take to say who it is, where that is asked for, and for the handshake of TLS
#: (`--authentication-timeout`). PostgreSQL: authentication_timeout 60, OpenSSH: LoginGraceTime 120.
AUTHENTICATION_S = 30

#: Bytes of a request of who has not said who it is, where that is asked for, and of replies that it has not taken;
#: words of a request; and bytes of all that it may send. Redis: 16 KiB of a word, 10 words, 1 KiB of replies; no limit
#: for all.
STRANGER_BYTES = 16 * KIB
STRANGER_WORDS = 10
STRANGER_SENDS_BYTES = 64 * KIB

#: What it may be set to at most. Linux: fs.nr_open, the most files one process may have open, is 1024 * 1024.
MOST_CLIENTS = 1024 * 1024

#: Files that are not clients': the log, the checkpoint, pipes to the compaction process, the reactor's own.
OTHER_FILES = 64

#: Most clients at once under Twisted's select reactor: select(2) watches no file whose number is FD_SETSIZE or more.
MOST_CLIENTS_OF_SELECT = 1024 - OTHER_FILES

#: Connections that may wait to be accepted. Past it a client's SYN is lost and it tries again after a second: Twisted's
#: default of 50 shows when a few hundred clients come at once. Redis: tcp-backlog 511. Linux caps it at
#: net.core.somaxconn, 4096 by default.
LISTEN_BACKLOG = 4096

#: Connections that are accepted in one turn of the loop; the others wait for the next. Each takes some 0.2 ms, and
#: Twisted accepts ever more at once while there are any. Valkey: max-new-connections-per-cycle 1000.
ACCEPTED_IN_A_TURN = 16

#: Bytes of hostile input that may reach a log line.
MAX_LOGGED_BYTES = 128

#: Lines of one kind that clients can have written to the log in each period, and how long that is. Redis writes one a
#: minute of those who speak HTTP (securityWarningCommand), and of the others as many as there are.
LOG_LINES_A_PERIOD = 10
LOG_PERIOD_S = 60

#: The same of clients that come and go (`--log-clients`), and of what scripts say (redis.log): somebody asked for them.
CLIENT_LINES_A_PERIOD = 1000
SCRIPT_LINES_A_PERIOD = 100

#: Characters of one line that a script writes to the log. Valkey: LOG_MAX_LEN.
MAX_SCRIPT_LINE = 1024

#: Characters of one request that MONITOR shows. Redis shows all, at up to four times its size for every client that
#: watches; 64 KiB is the longest line that Redis itself reads, PROTO_INLINE_MAX_SIZE.
MAX_MONITORED_BYTES = 64 * KIB

#: Deepest nesting of a JSON value (`--max-json-depth`).
MAX_JSON_DEPTH = 200

#: Most requests that are executed in slices at once; one more waits. Each may have noted all keys and values of the
#: table: 16 bytes for each key, and what is overwritten meanwhile.
MAX_SLICED_REQUESTS = 16

#: Most subkeys that have an index at once; the least recently asked for goes first.
MAX_INDEXES = 32

#: Most digits of a JSON integer. Python: sys.int_info.default_max_str_digits; conversion takes quadratic time.
MAX_INTEGER_DIGITS = 4300

#: Most bytes of operations in one commit; a frame's length field ends at 4 GiB.
MAX_COMMIT_BYTES = 1024 * MIB

#: Longest commit of a server in a group, which is one entry of the group's log: that is sent to each of its nodes, and
#: applied by each in one go; and what its entry says besides.
MAX_ENTRY_BYTES = 16 * MIB
ENTRY_HEADING_BYTES = 1 * KIB

#: How many databases there are, unless an option says otherwise. Redis: 16.
DATABASES = 16
MOST_DATABASES = 1024

#: Longest reply that our own clients read, in bytes (`max_reply_bytes`). More than that the server lets pile up for
#: nobody, so no server with the default options has one to give.
MAX_READ_REPLY_BYTES = DROP_CLIENT_BYTES

#: Least bytes a second, over some seconds, of what our own clients send or read: a telephone modem's 33.6 kbit/s.
#: Apache: mod_reqtimeout MinRate 500; IIS: minBytesPerSecond 240.
LEAST_BYTES_PER_SECOND = 4 * KIB

#: Longest answer of a catalog that is read, in bytes. The entry of a server takes some 200 bytes, one of other
#: programs' up to 2 KiB.
MAX_CATALOG_BYTES = 8 * MIB

#: Milliseconds that a script may take (`--script-ms`). Redis: busy-reply-threshold 5000, past which SCRIPT KILL works.
SCRIPT_MS = 200

#: What it may be set to at most: past that a script would hold all clients for longer than anybody's patience.
MOST_SCRIPT_MS = 10_000

#: Memory that a script may take while it runs, in bytes (`--script-memory-bytes`). Redis has no limit.
MAX_SCRIPT_MEMORY_BYTES = 64 * MIB

#: What it may be set to: below, what is small is made without a look at it; above, a script could take the machine's.
LEAST_SCRIPT_MEMORY_BYTES = 4 * MIB
MOST_SCRIPT_MEMORY_BYTES = 1024 * MIB

#: Longest source of a script, in bytes: what Lua compiles takes a time that can be the square of its length.
MAX_SCRIPT_SOURCE_BYTES = 256 * KIB

#: Most words `and`, `or`, `elseif` and `break` of a source together: each is a jump, and the compiler goes along all of
#: a chain to add one.
MAX_SCRIPT_JUMPS = 4000

#: Most bytes of sources that SCRIPT LOAD keeps; and most scripts kept that came with EVAL (Valkey: 500).
MAX_SCRIPTS_BYTES = 16 * MIB
MAX_EVAL_SCRIPTS = 500

#: Most codes of errors that are counted by themselves, if they are a script's (Valkey: ERRORSTATS_LIMIT).
MAX_ERROR_CODES = 128

#: Most bytes of sources of all libraries of functions together: FUNCTION DUMP and RESTORE hold the loop for 0.2 s then.
MAX_LIBRARIES_BYTES = 1 * MIB

#: Of an HTTP request (`--http`): line and headers together, in bytes, and how many headers. Apache: 8190 a line, 100.
MAX_HTTP_HEADER_BYTES = 16 * KIB
MAX_HTTP_HEADERS = 100

#: Most connections by HTTP at once: programs that watch ask every few seconds, and a page in a browser holds one. They
#: are of the OTHER_FILES.
MAX_HTTP_CONNECTIONS = 32

#: Seconds for an HTTP request to be complete, and for the client to take the answer. Apache: RequestReadTimeout 20.
HTTP_REQUEST_S = 10
HTTP_ANSWER_S = 30

#: Seconds that who said a wrong password by HTTP waits for the answer.
HTTP_WRONG_PASSWORD_S = 1

#: Most bytes of a name (of a key, a channel, a user) that an entry of ACL LOG keeps; Valkey keeps it whole.
ACL_LOG_NAME_BYTES = 1 * KIB

#: Most bytes of a password in a file (--password-file).
MAX_PASSWORD_BYTES = 4 * KIB

#: Requests that one picture of the interleaving shows, and the keys that each is shown with: rendering it takes some
#: milliseconds of the loop, and what watches them takes time of every client.
MAX_RECORDED_REQUESTS = 200
MAX_RECORDED_KEYS = 3

#: Lanes of such a picture: clients past them share one.
MAX_LANES = 100

#: How many the status page's clients are, and those looked at to find the ones that hold most; and keys that are looked
#: at to estimate what each type takes: a millisecond or two.
MAX_SHOWN_CLIENTS = 50
MAX_EXAMINED_CLIENTS = 500
MAX_EXAMINED_KEYS = 500

#: How many listen to the events of a page at once, and for how many events that one does not read it is patient.
MAX_LISTENERS = 8
MAX_MISSED_EVENTS = 5

#: Of etcd's replies: the longest header; the longest body, or line of one, in bytes. A read asks for 40 entries at
#: most, of 1 MiB at most, in base64.
MAX_ETCD_HEADER_BYTES = 64 * KIB
MAX_ETCD_REPLY_BYTES = 64 * MIB
