"""Training of the default checkpoint, stage by stage."""
