"""``python -m jaxct``: the command line."""

from jaxct.cli import main

if __name__ == "__main__":
    main()
