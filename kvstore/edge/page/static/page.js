// The status page, live: each event holds newer HTML of some sections, made by the server as the page itself was.
// While the page is not seen, or paused, it does not listen, and the server does nothing for it.
"use strict";

const live = document.getElementById("live");
const pause = document.getElementById("pause");
let source = null;
let paused = false;

function show(section, html) {
    const place = document.getElementById(section);
    if (!place || !("live" in place.dataset)) {
        return;
    }
    const scrolled = place.querySelector(".wide")?.scrollLeft ?? 0;
    const focused = place.contains(document.activeElement);
    place.innerHTML = html;
    const wide = place.querySelector(".wide");
    if (wide) {
        wide.scrollLeft = scrolled;
        if (focused) {
            wide.focus({preventScroll: true});
        }
    }
}

function say(text) {
    if (live.textContent !== text) {
        live.textContent = text;
    }
}

function listen() {
    if (source || paused || document.hidden) {
        return;
    }
    source = new EventSource("/events");
    source.onmessage = (event) => {
        say("Live");
        for (const [section, html] of Object.entries(JSON.parse(event.data))) {
            show(section, html);
        }
    };
    source.onerror = () => {
        say("Not live: the server does not answer, or as many look as may");
        if (source.readyState === EventSource.CLOSED) {
            stop();
            setTimeout(listen, 5000);
        }
    };
}

function stop() {
    source?.close();
    source = null;
}

pause.hidden = false;
pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    if (paused) {
        stop();
        say("Paused");
    } else {
        listen();
    }
});
document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
listen();
