"""What producers send, drawn from a seeded random: for simulation, fault tests and campaign.

``mix`` draws requests of every kind, whatever may become of them; ``purses`` draws requests whose
every outcome is known beforehand, to the last minor unit. What hypothesis draws for properties is
in ``tests.property.workload``.
"""
