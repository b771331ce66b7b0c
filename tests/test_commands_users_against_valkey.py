"""Users, compared with a real Valkey: rules and what is said of them, and what each user may do, reply for reply.

More sequences of rules: KVSTORE_VALKEY_EXAMPLES=1000.
"""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.commands.facts import names
from kvstore.commands.registry import table
from tests.kit.pair import Pair
from tests.kit.valkey import ValkeyTestCase

_EXAMPLES = int(os.environ.get("KVSTORE_VALKEY_EXAMPLES", "0"))
_HASH = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"  # of `alice`

#: Rules, most of them good ones; a comma stands for a blank.
RULES = f"""
on off nopass resetpass >alice >bob <alice <nobody #{_HASH} !{_HASH} #short
~* ~a* ~k %R~r* %W~w* %RW~a* %R~k %W~* %~ %X~a allkeys resetkeys &* &a* &k allchannels resetchannels
+@all -@all +@read -@read +@write +@keyspace +@string -@dangerous +@fast -@slow +@nonsense allcommands nocommands
+get -get +GET +set -set +config -config +config|get -config|set +config|nonsense +select|0 +select|1 +get|k
+config|get|x -get|k +client|id +nonsense -nonsense +debug|object + - ~ & ( () )
db=0 db=1 db=16 db=-1 db= db=a db=99999999999 alldbs resetdbs clearselectors reset sanitize-payload nonsense
(+get,~a*) (~a,+@read,-mget) (%W~w*,+@write,db=1) (&a*,+publish) (nonsense) (+get
""".split()

#: Requests that users may do or not.
REQUESTS = """
GET k|GET a1|GET r1|SET k v|SET a1 v|SET w1 v|SET w1 v GET|MGET a1 k|MSET a1 1 w1 2|DEL k a1|COPY a1 w1|COPY a1 w1 DB 1
COPY a1 w1 DB 0 DB 1|MOVE a1 1|RENAME a1 w1|SELECT 0|SELECT 1|SELECT x|SELECT 99|SWAPDB 0 1|FLUSHALL|FLUSHDB|KEYS *
EXISTS w1|STRLEN r1|TYPE k|CONFIG GET x|CONFIG SET x y|CLIENT ID|CLIENT LIST|PUBLISH a1 x|SUBSCRIBE a1 k|PSUBSCRIBE a*
PSUBSCRIBE a1|UNSUBSCRIBE a1|EVAL x 1 k|EVAL x 2 a1 r1|EVAL_RO x 1 r1|FCALL f 0|LMPOP 2 a1 w1 LEFT|SORT a1 STORE w1
SORT_RO r1|XREAD STREAMS a1 r1 0 0|XADD w1 * a b|XREADGROUP GROUP g c STREAMS r1 >|ZUNIONSTORE w1 2 a1 r1|BLPOP a1 0
PING|AUTH x|HELLO 3|QUIT|MULTI|WATCH r1|SMOVE a1 w1 x|HSET w1 f v|HGET r1 f|EXPIRE w1 10|OBJECT ENCODING r1|GET
""".replace("\n", "|").strip("|").split("|")  # fmt: skip

#: Requests whose replies, one after the other, are compared as they are.
ODD = """
ACL|ACL NONSENSE|ACL WHOAMI x|ACL CAT a b|ACL CAT nonsense|ACL GENPASS 0|ACL GENPASS 4097|ACL GENPASS x
ACL GENPASS 1 2|ACL LOG x|ACL LOG 1 2|ACL LOG -1|ACL LOG RESET|ACL SETUSER|ACL GETUSER|ACL GETUSER nobody
ACL DELUSER nobody|ACL DELUSER default|ACL DRYRUN nobody GET k|ACL DRYRUN default NONSENSE|ACL DRYRUN default GET
ACL DRYRUN default GET k|ACL LIST x|ACL USERS|ACL LOAD|ACL SAVE|ACL LOAD x|AUTH a b|AUTH a|AUTH a b c|AUTH
AUTH default x|HELLO 3 AUTH a b|CONFIG SET acl-pubsub-default x|CONFIG SET acl-pubsub-default ALLCHANNELS
ACL SETUSER wilma|ACL GETUSER wilma|CONFIG SET acl-pubsub-default resetchannels|ACL SETUSER wilma reset
ACL GETUSER wilma|CONFIG GET acl*|ACL SETUSER default -get|GET k|ACL SETUSER default +get resetkeys ~a|GET k
MULTI|GET k|EXEC|SET a 1|MULTI|SET a 2|ACL SETUSER default -set|EXEC|ACL SETUSER default +set -multi|MULTI
CLIENT KILL USER nobody|EVAL return{redis.pcall('get','k').err} 0|ACL SETUSER default +@all allkeys
CONFIG SET requirepass secret|CONFIG GET requirepass|ACL GETUSER default|RESET|GET k|NONSENSE|GET|HELLO 3|MULTI|EXEC
AUTH wrong|AUTH secret|GET k|ACL SETUSER default nopass
""".replace("\n", "|").strip("|").split("|")  # fmt: skip


def words(text: str) -> list[bytes]:
    """A request, whose words stand between blanks."""
    return text.encode().split()


class UsersTests(ValkeyTestCase):
    """Both get the same requests."""

    def setUp(self) -> None:
        """A pair, for RESP3: it tells maps from arrays."""
        super().setUp()
        self.pair = Pair(self.valkey, 3)
        self.addCleanup(self.pair.close)

    def same(self, request: list[bytes]) -> None:
        """Both answer the same."""
        self.assertEqual(self.pair.differs(0, request), "", request)

    def test_rules(self) -> None:
        """Any rules, one request after the other; after each the user is described alike, and may do the same."""

        @settings(max_examples=_EXAMPLES or 12)
        @given(
            st.lists(st.lists(st.sampled_from(RULES), min_size=1, max_size=5), min_size=1, max_size=4),
            st.lists(st.sampled_from(REQUESTS), min_size=4, max_size=4),
        )
        def try_out(changes: list[list[str]], requests: list[str]) -> None:
            self.same(words("ACL DELUSER fred"))
            for rules in changes:
                self.same([*words("ACL SETUSER fred"), *(rule.replace(",", " ").encode() for rule in rules)])
                self.same(words("ACL GETUSER fred"))
                self.same(words("ACL LIST"))
                for request in requests:
                    self.same([*words("ACL DRYRUN fred"), *words(request)])

        try_out()

    def test_categories(self) -> None:
        """The commands that both have are of the same categories."""
        here = {row.name.lower().encode() for row in table.all_rows()}
        there = set(map(str.encode, names()))
        for category in self.pair.theirs[0].ask(words("ACL CAT"))[1]:
            theirs = self.pair.theirs[0].ask([b"ACL", b"CAT", category])[1]
            ours = {name.encode() for name in self.pair.rig.do("ACL", "CAT", category)}
            self.assertEqual(ours & there, here & set(theirs), category)

    def test_odd_requests(self) -> None:
        """What is wrong with them is said alike, and noted alike."""
        for request in ODD:
            self.same(words(request))
        fields = ("count", "reason", "context", "object", "username", "entry-id")
        told = self.pair.theirs[0].ask(words("ACL LOG 100"))[1]
        entries = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in told]
        theirs = [[entry[name.encode()] for name in fields] for entry in entries]
        ours = [[entry[name] for name in fields] for entry in self.pair.rig.do("ACL", "LOG", 100)]
        self.assertEqual(
            [[each.encode() if isinstance(each, str) else each for each in entry] for entry in ours], theirs
        )
