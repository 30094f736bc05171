"""For producers: hand requests to the log and learn their outcome. Needs Redis, nothing else."""
