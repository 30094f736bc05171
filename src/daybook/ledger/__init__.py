"""The double-entry engine: pure, standard library only, no clock, no randomness, no I/O.

``batch.decide_batch`` is the door: entries of the log in, outcomes and journal records out.
"""
