// The interleaving, live: each event is a picture, drawn by the server. Here it is put in its place, looked at more
// closely, and kept, to go back to. Nothing is recorded while the page is paused or not seen.
import {listener, say, stop} from "./live.js";

const KEPT = 20; // pictures
const WIDTH = 1000; // of a picture, see picture.py

const pause = document.getElementById("pause");
const controls = document.getElementById("controls");
const picture = document.getElementById("picture");
const details = document.getElementById("details");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

let paused = calm.matches; // who wants no motion asks for each picture
let wantsOne = false;
let kept = [];
let shown = -1; // its place in `kept`
let chosen = null; // the table's row of the request
let left = 0;
let width = WIDTH;

const rows = () => [...picture.querySelectorAll("tbody tr")];
const number = (row) => row.id.slice(1);
const tick = (row) => picture.querySelector(`rect[data-n="${number(row)}"]`);

// Pictures

function show(place) {
    const table = picture.querySelector("details")?.open;
    const focused = picture.contains(document.activeElement);
    shown = place;
    picture.innerHTML = kept[place];
    left = 0;
    width = WIDTH;
    chosen = null;
    details.innerHTML = '<p class="note">None is chosen.</p>';
    if (table && picture.querySelector("details")) {
        picture.querySelector("details").open = true;
    }
    if (focused) {
        document.getElementById("lanes")?.focus({preventScroll: true});
    }
    enable();
}

function keep(html) {
    kept.push(html);
    kept = kept.slice(-KEPT);
    show(kept.length - 1);
}

function enable() {
    controls.querySelector('[data-do="back"]').disabled = shown < 1;
    controls.querySelector('[data-do="step"]').disabled = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
}

// Listening

const listen = listener("/interleaving/events", () => !paused || wantsOne, (event) => {
    keep(event.picture);
    wantsOne = false;
    say(paused ? "Paused" : "Live");
    if (paused) {
        stop();
    }
});

function hold(on) {
    paused = on;
    wantsOne = false;
    if (paused) {
        stop();
        say("Paused");
    } else {
        listen();
    }
    enable();
}

// One request

function choose(row) {
    if (!row) {
        return;
    }
    if (!paused) {
        hold(true);
    }
    for (const marked of picture.querySelectorAll(".selected, .together")) {
        marked.classList.remove("selected", "together");
    }
    chosen = row;
    row.classList.add("selected");
    if (row.dataset.commit !== "0") {
        for (const other of picture.querySelectorAll(`tr[data-commit="${row.dataset.commit}"]`)) {
            tick(other)?.classList.add("together");
        }
        picture.querySelector(`rect.commit[data-commit="${row.dataset.commit}"]`)?.classList.add("together");
    }
    tick(row)?.classList.add("selected");
    bringIntoView(row);
    tell(row);
}

function tell(row) {
    const heads = [...row.closest("table").querySelectorAll("thead th")];
    const list = document.createElement("dl");
    [...row.cells].forEach((cell, place) => {
        const group = document.createElement("div");
        const name = document.createElement("dt");
        const value = document.createElement("dd");
        name.textContent = heads[place].textContent;
        value.append(...[...cell.childNodes].map((node) => node.cloneNode(true)));
        group.append(name, value);
        list.append(group);
    });
    details.replaceChildren(list);
}

function beside(step) {
    const all = rows();
    const place = chosen ? all.indexOf(chosen) + step : step > 0 ? 0 : all.length - 1;
    choose(all[Math.max(0, Math.min(all.length - 1, place))]);
}

// The request nearest in time in the next lane that has any.
function acrossLanes(step) {
    const here = chosen && tick(chosen);
    if (!here) {
        beside(1);
        return;
    }
    const x = Number(here.getAttribute("x"));
    let lane = here.parentNode;
    do {
        lane = step > 0 ? lane.nextElementSibling : lane.previousElementSibling;
    } while (lane && !(lane.matches("g.lane") && lane.querySelector("rect")));
    if (lane) {
        const far = (rect) => Math.abs(Number(rect.getAttribute("x")) - x);
        const nearest = [...lane.querySelectorAll("rect")].reduce((best, rect) => (far(rect) < far(best) ? rect : best));
        choose(document.getElementById(`r${nearest.dataset.n}`));
    }
}

// The first request of the next commit.
function nextCommit() {
    const all = rows();
    const from = chosen ? all.indexOf(chosen) : -1;
    const commit = chosen ? chosen.dataset.commit : "0";
    choose(all.find((row, place) => place > from && row.dataset.commit !== "0" && row.dataset.commit !== commit));
}

// What is seen of the picture

function look() {
    const svg = picture.querySelector("svg");
    if (!svg) {
        return;
    }
    left = Math.max(0, Math.min(WIDTH - width, left));
    const height = svg.viewBox.baseVal.height;
    svg.setAttribute("viewBox", `${left} 0 ${width} ${height}`);
    const span = Number(document.getElementById("lanes").dataset.span);
    const [begin, end] = picture.querySelectorAll(".axis span");
    begin.textContent = `${((left / WIDTH) * span).toPrecision(3)} ms`;
    end.textContent = `${(((left + width) / WIDTH) * span).toPrecision(3)} ms`;
}

function zoom(factor) {
    const middle = chosen ? Number(tick(chosen).getAttribute("x")) : left + width / 2;
    width = Math.max(WIDTH / 4096, Math.min(WIDTH, width * factor));
    left = middle - width / 2;
    look();
}

function bringIntoView(row) {
    const rect = tick(row);
    const x = Number(rect?.getAttribute("x"));
    if (rect && (x < left || x > left + width)) {
        left = x - width / 2;
        look();
    }
    rect?.scrollIntoView({block: "nearest"});
}

// What people do

const deeds = {
    step: () => {
        wantsOne = true;
        say("Recording");
        listen();
    },
    back: () => {
        if (shown > 0) {
            hold(true);
            show(shown - 1);
        }
    },
    previous: () => beside(-1),
    next: () => beside(1),
    up: () => acrossLanes(-1),
    down: () => acrossLanes(1),
    commit: nextCommit,
    in: () => zoom(1 / 2),
    out: () => zoom(2),
};
const keys = {
    ArrowLeft: "previous", ArrowRight: "next", ArrowUp: "up", ArrowDown: "down",
    c: "commit", "+": "in", "=": "in", "-": "out",
};

controls.hidden = false;
controls.addEventListener("click", (event) => deeds[event.target.dataset.do]?.());
picture.addEventListener("click", (event) => {
    const n = event.target.dataset?.n;
    const row = n ? document.getElementById(`r${n}`) : event.target.closest?.("tbody tr");
    choose(row);
});
picture.addEventListener("keydown", (event) => {
    const deed = keys[event.key];
    if (deed && event.target.id === "lanes" && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        deeds[deed]();
    }
});
pause.hidden = false;
pause.addEventListener("click", () => hold(!paused));
say(paused ? "Paused" : "Waiting for the first picture");
enable();
listen();
