"""A server of a group: several processes that apply one shared log, of which one at a time leads.

    settings    what the options come to
    parent      the process that starts the server again
    opening     how a server begins
    node        the service: it follows, campaigns, leads, and ends
    member      what commands, the cluster and the other servers see of it
    joining     a node that is too far behind fetches another's checkpoint
    connecting  how it gets to the other one
    lending     while one's own is being fetched it is kept
    peers       who of the others is alive, and how far each is
    trimming    what two nodes' checkpoints have leaves the log; what happens when its engine is nearly full
    compacting  when a node makes a checkpoint for that, or for another one that joins
    writer      a leader's commits go to the shared log first
    reads       replies of reads wait for the lease, or for an append
    cluster     the group's slots, and who has the others
    quick_ways  which requests have one in a cluster
    sentinel    (in `commands`) how clients find the leader

The rules (who may lead, when a lease runs, what ends a node) are `kvstore.store.replica`'s, the log's are those of
`kvstore.base.shared_log`. With no --group nothing in here is imported.
"""
