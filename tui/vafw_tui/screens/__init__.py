"""What fills the terminal: the topology, the run, and what lies over them for a moment."""
