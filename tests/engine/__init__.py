"""The engine on plain data: ``shelf`` is a store of dicts, ``partitions`` runs several at once.

``compare`` sets the engine beside the model of ``tests.oracle``, which shares no code with it.
"""
