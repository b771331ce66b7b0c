"""walrus: containers, models with indexes, a stream's consumer group, a lock, a rate limit, autocompletion; over a
kill.

Packages: walrus==0.9.8 redis==5.3.1
"""

import common
import walrus


def main():
    """One of each."""
    db = walrus.Database(port=common.PORT)

    class User(walrus.Model):
        """A model with indexes."""

        __database__ = db
        name = walrus.TextField(primary_key=True)
        age = walrus.IntegerField(index=True)

    for n in range(20):
        User.create(name=f"user{n}", age=n)
    words, scores, kinds, record = db.List("words"), db.ZSet("scores"), db.Set("kinds"), db.Hash("record")
    words.extend(["a", "b", "c"])
    scores.add({"x": 1, "y": 2.5})
    kinds.add("p", "q")
    record.update(a=1, b=2)
    completing = db.autocomplete(namespace="titles")
    for title in ("kill nine", "killing time", "a quiet evening"):
        completing.store(title)
    lock = db.lock("lock", ttl=60_000)
    assert lock.acquire(block=False)
    limit = db.rate_limit("hits", limit=5, per=600)
    assert [limit.limit("me") for _ in range(3)] == [False] * 3
    group = db.consumer_group("group", ["stream"])
    group.create()
    first, second = group.stream.add({"n": "1"}), group.stream.add({"n": "2"})
    assert group.stream.read(count=1)[0][0] == first

    common.crash()
    common.eventually(lambda: len(words) == 3)
    assert sorted(user.name for user in User.query((User.age >= 5) & (User.age < 8))) == ["user5", "user6", "user7"]
    assert list(scores.range(0, -1, with_scores=True)) == [(b"x", 1.0), (b"y", 2.5)]
    assert kinds.members() == {b"p", b"q"} and record.as_dict() == {b"a": b"1", b"b": b"2"}
    assert sorted(completing.search("kill")) == ["kill nine", "killing time"]
    assert not db.lock("lock", ttl=60_000).acquire(block=False) and lock.release()
    assert [limit.limit("me") for _ in range(3)] == [False, False, True]
    assert [message_id for message_id, *_ in group.stream.pending()] == [first] or group.stream.pending()
    assert group.stream.read(count=5)[0][0] == second
    assert group.stream.ack(first) == 1
    common.works("everything is as it was: queries by index, the lock, 3 of 5 hits, the group's pending entry")
