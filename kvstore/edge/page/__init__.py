"""The status page, for people: how the server does, and how its clients are interleaved, live in a browser.

| module | what it does |
|---|---|
| `facts` | what there is to show, in sections, each with the commands that one must be allowed to call to see it |
| `charts` | lines over time, as SVG |
| `recorder`, `picture` | some requests and the commits they wait for, noted as they execute; where each is drawn |
| `rendering` | HTML of all that: the templates |
| `audience` | those who look, told by server-sent events |
| `site` | the paths |

HTML is made here only, by `templates/`, which escape all that clients have said. A page is complete when it is loaded;
the script of it (`static/`) puts newer HTML of a section in the place of the older, made by the same template. So there
is one way to draw anything, and nothing to see that a browser without scripts has not.

Nothing is gathered while nobody looks: the last listener that leaves ends the timers, and the watching of requests.

Rejected: a JSON of figures that a script draws. Each section would be drawn twice, in Python for who has no scripts and
in JavaScript, and kept alike by hand. A library of charts: hundreds of kilobytes for a line.
"""
