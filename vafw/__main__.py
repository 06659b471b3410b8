"""`python -m vafw`."""

from vafw.cli.main import main

main()
