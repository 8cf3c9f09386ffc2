"""`python -m testbed`: the command, where its script is not on the path."""

from testbed.cli.main import main

main()
