"""Python interface: what ``cluster_sim`` itself exports."""
