"""What users write: topology and workload files, units, located errors, JSON Schema."""
