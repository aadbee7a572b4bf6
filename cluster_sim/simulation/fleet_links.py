"""Links between the replicas of a fleet by its description, and what is doubtful about them."""

from cluster_sim.config.schema.fleet import Fleet, Pool
from cluster_sim.config.schema.links import Node
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import Device, Network
from cluster_sim.hardware.interconnect.directions import one_way, repeated_pair
from cluster_sim.hardware.interconnect.site_routes import SiteRoutes
from cluster_sim.hardware.interconnect.transfer_path import FleetLinks, PoolPlace, Port
from cluster_sim.hardware.link_library import WITHIN_NODES, LinkSpec, load_link
from cluster_sim.hardware.node_topology import NodeTopology, node_topology
from cluster_sim.simulation.fleet_checks import check_pool_name
from cluster_sim.simulation.fleet_sites import site_of


def network_port(node: Node | None, device: Device) -> Port:
    """Return the network cards of a pool's nodes; raises InputError, which begins with ``node.nic``."""
    per_gpu = 1.0 if node is None else node.nics_per_gpu
    if node is None or node.nic is None:
        return Port(device.network.bandwidth_bytes_per_s, device.network.latency_us, per_gpu=per_gpu)
    link = load_link(node.nic)
    if link.kind in WITHIN_NODES:
        raise InputError(f"node.nic: {link.name} is a link inside nodes; use one of kind infiniband, roce or ethernet")
    return _port(link, per_gpu)


def _port(link: LinkSpec, per_gpu: float) -> Port:
    return Port(link.bandwidth_bytes_per_s, link.latency_us, link.achieved_ratio, per_gpu)


def pool_topology(pool: Pool, device: Device) -> NodeTopology | None:
    """Return the links of a pool's GPUs; None if the study leaves them to the device's file.

    Raises InputError, which begins with a key of the pool.
    """
    node = pool.node
    if node is None:
        return None
    port = network_port(node, device)
    network = Network(bandwidth_bytes_per_s=port.bytes_per_s * port.per_gpu, latency_us=port.latency_us)
    return node_topology(device, node.gpus, node.gpu_links, network)


def fleet_links(fleet: Fleet, devices: list[Device]) -> FleetLinks:
    """Return what joins the replicas; ``devices`` are those of the pools in their order.

    Raises InputError, which begins with the key, for pools that are not there and links that are given twice.
    """
    places: list[PoolPlace] = []
    first_node = 0
    for pool, device in zip(fleet.pools, devices, strict=True):
        node_gpus = pool.gpus_of_node(device.gpus_per_node)
        port = network_port(pool.node, device)
        place = PoolPlace(pool.name, pool.gpus_per_replica, node_gpus, port, site_of(fleet, pool), first_node)
        places.append(place)
        # Room for those that join: a pool's nodes are never another's.
        first_node += 1 << 20
    joined: dict[tuple[str, str], Port] = {}
    for index, entry in enumerate(fleet.links):
        for name in entry.direction[:2]:
            check_pool_name(fleet, name, f"fleet.links.{index}.between")
        joined |= dict.fromkeys(entry.direction.pairs(), _port(load_link(entry.link), entry.links_per_gpu))
    pair = repeated_pair([entry.direction for entry in fleet.links])
    if pair is not None:
        raise InputError(f"fleet.links: the way from {pair[0]} to {pair[1]} is given twice; leave one of them out")
    routes = SiteRoutes() if fleet.sites is None else fleet.sites.site_routes()
    return FleetLinks(tuple(places), joined, routes)


def link_warnings(fleet: Fleet) -> list[str]:
    """Return a sentence for each link between pools that leads one way only."""
    return [
        f"fleet.links: '{source} -> {target}' leads one way only, so transfers from {target} to {source} take the "
        f"network of their nodes; '{source} - {target}' is both directions."
        for source, target, _ in one_way([entry.direction for entry in fleet.links])
    ]
