"""``daybook demo``: a small shop's day, played against real servers and real workers.

``story`` says what is sent and what must come of it, ``play`` sends it and kills a worker on the
way, ``checks`` compares what was found with what the story expects.
"""
