"""How many partitions an installation can have."""

PARTITIONS_DEFAULT = 2
PARTITIONS_MAX = 256
