"""What a server shows by HTTP, with --http: whether it lives, its counters, and a page for people.

`site` has what holds for every request, `channel` its limits, `origins` whose requests are answered, `visitors` who
asks. What there is to be seen stands in modules of its own; `serving` lists them. Nobody imports this package unless
--http is given: twisted.web takes time and memory.
"""
