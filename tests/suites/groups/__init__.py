"""Groups of whole servers in one process, in simulated time, in which anything goes wrong; their clients' histories."""
