"""What scripts/fairness does: calm clients beside a greedy one."""
