"""Lines about a fleet, as ``validate`` prints them: pools by model, with their roles, sites, prices and links."""

from collections.abc import Iterator

from cluster_sim.config.schema.links import Node
from cluster_sim.config.schema.sites import SiteRouteBlock
from cluster_sim.shown_values import counted
from cluster_sim.simulation.plan import Plan, PoolPlan
from cluster_sim.units import NS_PER_MS


def fleet_lines(plan: Plan) -> Iterator[str]:
    """Yield one line for each model and one for each of its pools."""
    fleet = plan.study.fleet
    gpus = sum(planned.pool.replicas * planned.pool.gpus_per_replica for planned in plan.pools)
    price = sum(planned.pool.replicas * planned.usd_per_hour for planned in plan.pools)
    yield f"{counted(plan.replicas, 'replica')} on {counted(gpus, 'GPU')}, ${price:,.2f} an hour"
    if fleet.sites is not None:
        yield f"the router stands at {fleet.sites.router}"
        yield from (f"route {_route(route)}" for route in fleet.sites.routes)
    for link in fleet.links:
        yield f"link {link.between}: {link.links_per_gpu:g} x {link.link} a GPU"
    for model in plan.models:
        yield f"{model}:"
        for planned in plan.pools:
            if planned.hardware.model.name == model:
                yield f"  {_pool(planned)}"


def _pool(planned: PoolPlan) -> str:
    pool = planned.pool
    parts = [f"{pool.replicas} x {pool.gpus_per_replica} {planned.hardware.device.name}", pool.role or "both"]
    parts += [f"at {planned.site}"] if planned.site else []
    parts.append(f"{_ms(planned.delays.forward_ns)} from the router, {_ms(planned.delays.return_ns)} back")
    parts += _node(pool.node)
    parts += [f"{key}={value}" for key, value in pool.labels.items()]
    return f"{pool.name}: {', '.join(parts)}"


def _route(route: SiteRouteBlock) -> str:
    rate = route.bandwidth_gb_per_s
    return f"{route.between}: {route.latency_ms:g} ms{'' if rate is None else f', {rate:g} GB/s'}"


def _node(node: Node | None) -> list[str]:
    """Return what a study says of a pool's nodes."""
    if node is None:
        return []
    parts = [f"nodes of {counted(node.gpus, 'GPU')}"] if node.gpus is not None else []
    parts += [f"GPU links {node.gpu_links}"] if node.gpu_links is not None else []
    if node.nic is not None or node.nics_per_gpu != 1:
        parts.append(f"{node.nics_per_gpu:g} x {node.nic or 'network'} a GPU")
    return parts


def _ms(time_ns: int) -> str:
    return f"{time_ns / NS_PER_MS:g} ms"
