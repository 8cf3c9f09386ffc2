"""A network emulation testbed for device-edge CNN co-inference."""

__version__ = "0.1.0"
