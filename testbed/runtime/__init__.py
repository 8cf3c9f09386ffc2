"""The processes of a testbed: devices and edges as Ray actors, the wire between them, and the pace of their compute."""
