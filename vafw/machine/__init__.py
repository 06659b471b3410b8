"""What any platform is, modelled or real: its inventory, its VMs' lives, its links, what it can do."""
