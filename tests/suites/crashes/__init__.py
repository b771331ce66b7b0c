"""Crashes of a store on the simulated disk, at every call, in every way; the model that says what may be left."""
