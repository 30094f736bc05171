"""What judges the engine: written from the semantics alone, sharing no code with it.

``model`` says what should happen, ``judge`` whether what happened may stand; ``scenario`` reads
tables of requests and outcomes. Nothing here imports anything of Daybook, not even names of ids.
"""
