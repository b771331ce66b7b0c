"""The shared log of a group in etcd (`etcd://a:2379,b:2379,c:2379`), by the HTTP and JSON of etcd's gateway.

`log` has how that is done and why it is safe, `layout` what is where in etcd. `client` asks until there is an answer,
`watching` hears of what is new, `gateway` has the words of both, `link` and `replies` one connection. Nobody imports
this package unless a group is asked for.
"""
