"""The whole pipeline in one process, driven by one seed: real client, real worker, real engine.

Log, store, doorbells and clock are in memory and do whatever their real counterparts may do; after
each run the judge of ``tests.oracle`` says whether the ledger may stand. ``python -m
tests.simulation`` runs it; the memory stand-ins pass the same conformance suite as the real ones.
"""
