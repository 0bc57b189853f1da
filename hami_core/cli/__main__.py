"""``python -m hami_core.cli``: the command, for who has an interpreter and no PATH to the script."""

from hami_core.cli import main

main()
