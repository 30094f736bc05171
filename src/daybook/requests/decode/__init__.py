"""From a body in the log back to an instruction of the engine."""
