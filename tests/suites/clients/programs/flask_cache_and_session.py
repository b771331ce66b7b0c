"""Flask-Caching and Flask-Session: a memoized function, a cached view, many keys, and a session of a browser; over a
kill.

Packages: Flask-Caching==2.5.1 Flask-Session[redis]==0.8.0 redis==5.3.1
"""

import common
from flask import Flask, session
from flask_caching import Cache
from flask_session import Session
from redis import Redis


def main():
    """Both in one application."""
    app = Flask(__name__)
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis(port=common.PORT))
    Session(app)
    cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": common.URL})
    calls = []

    @cache.memoize(600)
    def costly(n):
        calls.append(n)
        return n * n

    @app.get("/")
    def visits():
        session["visits"] = session.get("visits", 0) + 1
        return str(session["visits"])

    browser, other = app.test_client(), app.test_client()
    with app.app_context():
        assert [costly(n) for n in range(20)] == [n * n for n in range(20)]
        cache.set_many({"a": 1, "b": [2]})
        assert [browser.get("/").text for _ in range(3)] == ["1", "2", "3"] and other.get("/").text == "1"
        common.crash()
        common.eventually(lambda: cache.get("a") == 1)
        assert [costly(n) for n in range(20)] == [n * n for n in range(20)] and len(calls) == 20
        assert common.eventually(lambda: browser.get("/").text) == "4" and other.get("/").text == "2"
        cache.delete_memoized(costly)
        assert costly(3) == 9 and len(calls) == 21 and cache.get_many("a", "b") == [1, [2]]
    common.works("20 memoized calls are not made again; both sessions go on where they were")
