"""The catalogue of faults: each a small named thing, all run by one driver.

::

    python -m tests.fault.campaign                  # all of them, on servers of their own; a table
    python -m tests.fault.campaign postgres-killed  # some, by name
    python -m tests.fault.campaign one+other        # two at once
    python -m tests.fault.campaign --pairs 100      # pairs that are drawn by --seed
    python -m tests.fault.campaign --list

    kinds.py     what a kind is, the list of all, and which of them go together
    stage.py     servers, an installation, workers and traffic for one kind
    on_*.py      the faults, by what they hit
    run.py       one kind: traffic, the fault, its end, drain, the oracle, a line of result
"""
