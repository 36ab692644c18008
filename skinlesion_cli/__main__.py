"""`python -m skinlesion_cli` runs the command `skinlesion`."""

from skinlesion_cli.cli.app import main

if __name__ == "__main__":
    main()
