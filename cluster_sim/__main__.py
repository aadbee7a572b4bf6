"""Entry of the command ``cluster-sim``, and of ``python -m cluster_sim``."""

import sys
from typing import NoReturn

from cluster_sim.interruption import INTERRUPTION


def main() -> NoReturn:
    """Run the command line, whose modules take a moment to load: an interrupt before it begins is one line, too."""
    INTERRUPTION.install()
    try:
        from cluster_sim.cli.app import main as run
    except KeyboardInterrupt:
        INTERRUPTION.end()
        sys.stderr.write("unfinished: interrupted before anything began\n")
        sys.exit(3)
    run()


if __name__ == "__main__":
    main()
