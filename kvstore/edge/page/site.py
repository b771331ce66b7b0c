"""The paths of the page: the two pages, what they load, and the events that keep them live."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from markupsafe import Markup
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET, Request

from kvstore import __version__
from kvstore.base.limits import MAX_RECORDED_REQUESTS
from kvstore.edge.history import History
from kvstore.edge.http.site import Answer, Route
from kvstore.edge.http.visitors import Visitor
from kvstore.edge.page.audience import Audience, event
from kvstore.edge.page.facts import Section, sections
from kvstore.edge.page.picture import draw
from kvstore.edge.page.recorder import Recorder, Recording
from kvstore.edge.page.rendering import clock, prepare, render
from kvstore.edge.status import Sources

_log = Logger()

#: Calls something when its turn has come, see `edge.http.pacing`.
Pace: TypeAlias = Callable[[Callable[[], None]], None]

HTML = b"text/html; charset=utf-8"
_TYPES = {".css": b"text/css; charset=utf-8", ".js": b"text/javascript; charset=utf-8", ".svg": b"image/svg+xml"}
_BUG = Markup('<p class="bad">This cannot be shown, which is a bug: see the log.</p>')
_STATIC = Path(__file__).parent / "static"
#: Who may see the pages at all.
_NEEDS = ("INFO",)
#: Who may see the names of commands and keys in the interleaving: it is what MONITOR shows.
_NAMES = "MONITOR"
#: Seconds from one picture of the interleaving to the next, and that one shows at most.
_PICTURE_S = 1.0


def page_routes(sources: Sources, history: History, pace: Pace) -> dict[bytes, Route]:
    """All of them. `sources`: the server that is shown; `history`: of it. `pace`: calls what tells those who look when
    its turn has come.
    """
    prepare()
    frame = _Frame(sources)
    status = StatusPage(sources, history, frame, pace)
    interleaving = InterleavingPage(sources, frame, pace)
    return {
        b"/": Route(status.render, _NEEDS, HTML),
        b"/events": Route(status.audience.join, _NEEDS),
        b"/interleaving": Route(interleaving.render, _NEEDS, HTML),
        b"/interleaving/events": Route(interleaving.audience.join, _NEEDS),
        **{f"/static/{path.name}".encode(): _file(path) for path in sorted(_STATIC.iterdir())},
    }


def _file(path: Path) -> Route:
    content = path.read_bytes()
    return Route(lambda request, visitor: content, None, _TYPES[path.suffix])


class _Frame:
    """What stands around each page."""

    def __init__(self, sources: Sources) -> None:
        self._server = sources.server
        self._endpoints = sources.listening.described
        self._title = sources.connections.settings.project or "Status"

    def render(self, template: str, path: str, visitor: Visitor, **facts: Any) -> bytes:
        """A page. `path`: its own; `facts`: for its template."""
        around = {
            "title": self._title if path == "/" else "Interleaving",
            "path": path,
            "script": "page.js" if path == "/" else "interleaving.js",
            "at": clock(self._server.now_ms()),
            "version": __version__,
            "listening": [_fields(endpoint) for endpoint in self._endpoints],
            "visitor": visitor.name,
        }
        return render(template, around | facts).encode()


def _fields(endpoint: str) -> dict[str, str]:
    """Of an endpoint as `Listening` describes it."""
    return dict(part.split("=", 1) for part in endpoint.split(","))


class StatusPage:
    """The status, in sections. `audience`: those who look at it."""

    def __init__(self, sources: Sources, history: History, frame: _Frame, pace: Pace) -> None:
        self._pace = pace
        self._reactor = sources.reactor
        self._frame = frame
        self._sections = sections(sources, history)
        self._timer: IDelayedCall | None = None
        self._round = self._ticks = 0
        self._rendered: dict[str, Markup] = {}
        self.audience = Audience(_NEEDS, self._tick, self._end)

    def render(self, request: Request, visitor: Visitor) -> Answer:
        """The page, as of now."""
        shown = []
        for section in self._sections:
            html = _html(section) if visitor.may_all(section.needs) else None
            if html != "":
                shown.append({"name": section.name, "title": section.title, "needs": section.needs, "html": html})
        return self._frame.render("status", "/", visitor, sections=shown)

    def _tick(self) -> None:
        """Once a second, while somebody looks: tell each what is new of what it may see."""
        fresh: set[str] = set()
        for listener in self.audience.allowed():
            seen = [section for section in self._sections if listener.visitor.may_all(section.needs)]
            for section in seen:
                if section.name not in fresh:
                    fresh.add(section.name)
                    self._refresh(section)
            news = {
                section.name: str(self._rendered[section.name])
                for section in seen
                if listener.known.get(section.name) != self._rendered[section.name]
            }
            if listener.tell(event(news)):
                listener.known |= news
        self._ticks += 1
        if self.audience.listeners:
            self._timer = self._reactor.callLater(1, self._pace, partial(self._tick_of, self._round))

    def _tick_of(self, round_: int) -> None:
        """The next one, unless those who looked are gone meanwhile."""
        if round_ == self._round:
            self._tick()

    def _refresh(self, section: Section) -> None:
        if section.name in self._rendered and self._ticks % section.period_s:
            return
        self._rendered[section.name] = _html(section)

    def _end(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._round += 1
        self._ticks = 0
        self._rendered.clear()


def _html(section: Section) -> Markup:
    """A section as of now, empty if there is nothing to tell; one that has a bug is no reason not to see the others."""
    try:
        facts = section.facts()
        return Markup() if facts is None else render(section.name, facts)
    except Exception:
        _log.failure("bug in the section {section} of the status page", section=section.name)
        return _BUG


class InterleavingPage:
    """The interleaving, a picture a second. `audience`: those who look at it."""

    def __init__(self, sources: Sources, frame: _Frame, pace: Pace) -> None:
        self._pace = pace
        self._reactor = sources.reactor
        self._frame = frame
        self._recorder = Recorder(sources.connections)
        self._recording: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        self.audience = Audience(_NEEDS, self._begin, self._end)

    def render(self, request: Request, visitor: Visitor) -> Answer:
        """The page; with `?record`, for browsers without scripts, and a picture in it."""
        if b"record" not in request.args and request.uri != b"/interleaving?record":
            return self._page(visitor, None)
        recording = self._recorder.record(_PICTURE_S)
        request.notifyFinish().addErrback(lambda _: recording.cancel())
        recording.addCallback(lambda found: self._answer(request, visitor, found))
        recording.addErrback(_report)
        return NOT_DONE_YET

    def _answer(self, request: Request, visitor: Visitor, recording: Recording) -> None:
        request.write(self._page(visitor, recording))
        request.finish()

    def _page(self, visitor: Visitor, recording: Recording | None) -> bytes:
        names = visitor.may(_NAMES)
        return self._frame.render(
            "interleaving", "/interleaving", visitor, picture=_picture(recording, names=names), names=names,
            most_requests=MAX_RECORDED_REQUESTS,
        )  # fmt: skip

    def _begin(self) -> None:
        began_s = self._reactor.seconds()

        def tell(recording: Recording) -> None:
            if self._recording is not recorded:  # those who looked are gone meanwhile
                return
            rest_s = max(0.0, began_s + _PICTURE_S - self._reactor.seconds())
            self._timer = self._reactor.callLater(rest_s, self._begin)
            self._tell(recording)

        recorded = self._recording = self._recorder.record(_PICTURE_S)
        recorded.addCallback(lambda recording: self._pace(partial(tell, recording))).addErrback(_report)

    def _tell(self, recording: Recording) -> None:
        events: dict[bool, bytes] = {}
        for listener in self.audience.allowed():
            names = listener.visitor.may(_NAMES)
            if names not in events:
                events[names] = event({"picture": str(_picture(recording, names=names))})
            listener.tell(events[names])

    def _end(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._recording is not None:
            self._recording.cancel()
            self._recording = None


def _picture(recording: Recording | None, *, names: bool) -> Markup:
    """The HTML of a picture. `names`: whether it shows names of commands, keys and clients."""
    return render("picture", {"picture": None if recording is None else draw(recording), "names": names})


def _report(failure: Failure) -> None:
    if not failure.check(CancelledError):
        _log.failure("bug in a picture of the interleaving", failure=failure)
