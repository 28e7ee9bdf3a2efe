"""`python -m takeover` is the command `loop`."""

from .cli import main

if __name__ == "__main__":
    main()
