"""``python -m cluster_sim`` is the ``cluster-sim`` command."""

from cluster_sim.cli.app import main

if __name__ == "__main__":
    main()
