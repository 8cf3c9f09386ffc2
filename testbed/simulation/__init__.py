"""The same run without root or network: a discrete-event model of links, TCP, devices and edges."""
