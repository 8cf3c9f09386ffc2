"""The machines' control plane: Ray, started and reached with a token of the testbed's own."""
