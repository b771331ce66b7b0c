"""Flask-Limiter: fixed, moving and sliding windows in a Flask application; what was used up stays so over a kill.

Packages: Flask-Limiter[redis]==4.1.1
"""

import common
from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address


def main():
    """The scenario."""
    left = {}
    for strategy in "fixed-window", "moving-window", "sliding-window-counter":
        app = Flask(__name__)
        limiter = Limiter(get_remote_address, app=app, storage_uri=common.URL, strategy=strategy)
        app.add_url_rule("/", strategy, limiter.limit("10/hour")(lambda: "hello"))
        left[strategy] = app.test_client()
    statuses = {name: [client.get("/").status_code for _ in range(6)] for name, client in left.items()}
    assert all(seen == [200] * 6 for seen in statuses.values()), statuses
    common.crash()
    for client in left.values():
        common.eventually(lambda client=client: client.get("/").status_code == 200)
    statuses = {name: [client.get("/").status_code for _ in range(4)] for name, client in left.items()}
    assert all(seen == [200, 200, 200, 429] for seen in statuses.values()), statuses
    common.works("of 10 requests an hour 6 were taken before the kill and 4 after it, then 429, in each strategy")
