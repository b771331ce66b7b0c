// The status page, live: each event holds newer HTML of some sections, made by the server as the page itself was.
import {listener, say, stop} from "./live.js";

const pause = document.getElementById("pause");
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

const listen = listener("/events", () => !paused, (sections) => {
    say("Live");
    for (const [section, html] of Object.entries(sections)) {
        show(section, html);
    }
});

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
listen();
