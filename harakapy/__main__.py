"""``python -m harakapy`` is ``harakapy``."""

from harakapy.cli.main import main

if __name__ == "__main__":
    main(prog_name="harakapy")
