"""Makes ``python -m cxml`` the command ``cxmld``."""

from cxml.cli import main

if __name__ == "__main__":
    main()
