"""What judges the engine: written from the semantics alone, sharing no code with it.

``model`` says what should happen, ``judge`` whether what happened may stand; ``shelf`` and
``partitions`` run the engine on plain data, ``scenario`` reads tables of requests and outcomes.
"""
