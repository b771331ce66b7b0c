// How both pages hear of what is new: events of the server. While a page is not seen, or wants none, it does not listen,
// and the server does nothing for it.

const live = document.getElementById("live");
let source = null;

export function say(text) {
    if (live.textContent !== text) {
        live.textContent = text;
    }
}

export function stop() {
    source?.close();
    source = null;
}

// Returns what begins to listen, if the page is seen and `wants` says so. `told` gets what an event of `path` holds.
export function listener(path, wants, told) {
    function listen() {
        if (source || document.hidden || !wants()) {
            return;
        }
        source = new EventSource(path);
        source.onmessage = (event) => told(JSON.parse(event.data));
        source.onerror = () => {
            say("Not live: the server does not answer, or as many look as may");
            if (source.readyState === EventSource.CLOSED) {
                stop();
                setTimeout(listen, 5000);
            }
        };
    }
    document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
    return listen;
}
