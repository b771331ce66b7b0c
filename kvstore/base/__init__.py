"""What every other room stands on: the disk, the frame encoding, errors, limits, reply values. Knows nothing above."""
