"""How the system runs: on one machine, in containers, on a cluster."""
