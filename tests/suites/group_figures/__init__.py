"""What a group of servers costs, and how long its pauses are: scripts/group_figures."""
