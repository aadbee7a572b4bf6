"""The names that a study may use because something is registered under them."""

from cluster_sim.config.loading.load import Names
from cluster_sim.options import ENGINE_KINDS
from cluster_sim.serving.schedulers import SCHEDULERS


def registered_names() -> Names:
    """Return the registered names for ``load_study``, which checks the study's against them."""
    return {ENGINE_KINDS: SCHEDULERS.names()}
