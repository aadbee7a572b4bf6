"""Changes of a study during its run, resolved and checked before time starts.

A pool whose engine, parallelism or device changes is upgraded: the pool as it is from then on is added to the study
without replicas, and takes the place of the old one replica by replica.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

from pydantic import ValidationError

from cluster_sim.config.schema.fleet import Pool
from cluster_sim.config.schema.study import Study
from cluster_sim.engine.observation import Observation, contradiction, strictest
from cluster_sim.errors import InputError
from cluster_sim.options import listed
from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, build_policy
from cluster_sim.routing.roles import can_decode
from cluster_sim.routing.scaling.fleet_control import BeginUpgrade, Change, PolicyOptions, ReplicaCount, SplitWeights
from cluster_sim.routing.scaling.rolling_upgrade import UpgradeOptions
from cluster_sim.routing.scaling.traffic_split import check_weights
from cluster_sim.suggestion import suggestion
from cluster_sim.units import NS_PER_S

UPGRADED_KEYS: Final = (
    "engine",
    "device",
    "tensor_parallel",
    "pipeline_parallel",
    "data_parallel",
    "expert_parallel",
    "power_cap_w",
)
"""Keys of a pool that need another replica."""
_POOLS: Final = "fleet.pools."
CHANGING_POOLS: Final = "with N the number or the name of a pool"
"""What messages say of the keys of ``changing_keys``."""


def with_upgraded_pools(study: Study) -> tuple[Study, tuple[UpgradeOptions, ...]]:
    """Return a study with the pools that its changes make, and the upgrades to them; raises InputError."""
    pools = list(study.fleet.pools)
    upgrades: list[UpgradeOptions] = []
    newest = list(range(len(pools)))
    """The pool that stands for each pool of the study after the changes so far."""
    for index, at_s, values in _in_order(study):
        by_pool: dict[int, dict[str, Any]] = {}
        for key, value in values.items():
            number, rest = _pool_key(study, key, index)
            if number is not None and rest.partition(".")[0] in UPGRADED_KEYS:
                by_pool.setdefault(number, {})[rest] = value
        for number, changed in by_pool.items():
            old = pools[newest[number]]
            names = {pool.name for pool in pools}
            candidates = (f"{study.fleet.pools[number].name}-v{version}" for version in count(2))
            name = next(name for name in candidates if name not in names)
            pools.append(_changed_pool(old, name, changed, f"run.changes.{index}.set"))
            upgrades.append(UpgradeOptions(at_s=at_s, pool=old.name, to=name))
            newest[number] = len(pools) - 1
    if not upgrades:
        return study, ()
    fleet = study.fleet.model_copy(update={"pools": tuple(pools)})
    return study.model_copy(update={"fleet": fleet}), tuple(upgrades)


def timed_changes(
    study: Study, models: Mapping[str, str], made: tuple[UpgradeOptions, ...]
) -> list[tuple[int, Change]]:
    """Return the changes of a study by their times in ns; raises InputError, which begins with the key.

    ``models`` has the model of every pool, ``made`` are the upgrades that changes of pools have become.
    """
    names = list(models)
    changes: list[tuple[int, Change]] = []
    routers = iter(changed_routers(study))
    first = _observations(study.router, models, "router")
    split: dict[str, Any] = dict(study.router.split)
    if split:
        check_weights("router.split", split, models)
    for index, at_s, values in _in_order(study):
        at_ns, where = round(at_s * NS_PER_S), f"run.changes.{index}.set"
        changes_router = False
        weights: dict[str, Any] = {}
        for key, value in values.items():
            number, rest = _pool_key(study, key, index)
            if number is not None and rest == "replicas":
                changes.append((at_ns, _replica_count(study, number, value, where)))
            elif key == "router.split" or key.startswith("router.split."):
                weights.update(value if key == "router.split" and isinstance(value, dict) else {key[13:]: value})
            elif key.startswith("router."):
                changes_router = True
        if weights:
            split |= weights
            wrong = [name for name, weight in split.items() if not isinstance(weight, int | float) or weight < 0]
            if wrong:
                raise InputError(f"{where}: the weight of {wrong[0]!r} must be a number that is not below 0")
            check_weights(where, split, models)
            changes.append((at_ns, SplitWeights(dict(split))))
        if changes_router:
            router = next(routers)
            observation = _observations(router, models, where)
            _check_samples(first, observation, where)
            changes.append((at_ns, PolicyOptions(router, observation)))
    for place, upgrade in [
        *((f"upgrades.{n}", u) for n, u in enumerate(study.upgrades)),
        *(("run.changes", u) for u in made),
    ]:
        changes.append((round(upgrade.at_s * NS_PER_S), _upgrade(study, upgrade, names, models, place)))
    return sorted(changes, key=lambda change: change[0])


def changed_routers(study: Study) -> list[RouterOptions]:
    """Return the router after each change of its policy or its options; raises InputError, which begins with the key.

    A policy that takes the place of another has its own options from the change alone; those that all policies share
    stay.
    """
    routers: list[RouterOptions] = []
    router: RouterOptions = study.router
    for index, _, values in _in_order(study):
        options = {
            key.removeprefix("router."): value
            for key, value in values.items()
            if key.startswith("router.") and key.split(".")[1] != "split"
        }
        if options:
            for key in values:
                _pool_key(study, key, index)
            router = _changed_router(study, router, options, f"run.changes.{index}.set")
            routers.append(router)
    return routers


def _in_order(study: Study) -> Iterator[tuple[int, float, dict[str, Any]]]:
    """Yield (index in the study, time, values) of every change in the order of time."""
    for index, change in sorted(enumerate(study.run.changes), key=lambda entry: entry[1].at_s):
        yield index, change.at_s, change.set


def _pool_key(study: Study, key: str, index: int) -> tuple[int | None, str]:
    """Return the pool that a key belongs to and the key inside it; raises InputError for keys that cannot change."""
    own = _options_of(study.router.policy)
    changed = _options_of(*(change.set.get("router.policy") for change in study.run.changes))
    if key.startswith("router.") and key.split(".")[1] in own | changed | {"policy", "split"}:
        return None, key
    if key.startswith(_POOLS):
        rest = key.removeprefix(_POOLS)
        names = [pool.name for pool in study.fleet.pools]
        for number, name in sorted(enumerate(names), key=lambda entry: -len(entry[1])):
            for prefix in (f"{name}.", f"{number}."):
                inner = rest.removeprefix(prefix)
                if inner != rest and inner.partition(".")[0] in (*UPGRADED_KEYS, "replicas"):
                    return number, inner
    raise InputError(
        f"run.changes.{index}.set: {key} cannot change during a run{suggestion(key, changing_keys(own))}; these can: "
        f"{listed(changing_keys(own))}, {CHANGING_POOLS}"
    )


def changing_keys(options: Iterable[str]) -> list[str]:
    """Return the keys that can change during a run, ``options`` of the policy among them."""
    router = [f"router.{name}" for name in ("split", "policy", *sorted(options))]
    return [*router, *(f"{_POOLS}N.{name}" for name in ("replicas", *UPGRADED_KEYS))]


def _options_of(*policies: Any) -> set[str]:
    """Return the options of the router that can change: those of given policies alone, and how they break ties."""
    known = [ROUTING_POLICIES.get(name).options for name in policies if name in ROUTING_POLICIES.names()]
    own = {name for options in known for name in options.model_fields} - set(RouterOptions.model_fields)
    return own | {"ties"}


def _changed_pool(old: Pool, name: str, changed: Mapping[str, Any], where: str) -> Pool:
    """Return a pool with other values, without replicas."""
    data = old.model_dump(mode="json", exclude_unset=True)
    for key, value in changed.items():
        _put(data, key, value)
    try:
        return Pool.model_validate(data).model_copy(update={"name": name, "replicas": 0})
    except ValidationError as error:
        raise InputError(_first(error, where, "fleet.pools")) from None


def _changed_router(study: Study, router: RouterOptions, options: Mapping[str, Any], where: str) -> RouterOptions:
    """Return the router with another policy or other options of its policy."""
    name = options.get("policy", router.policy)
    if not isinstance(name, str) or name not in ROUTING_POLICIES.names():
        raise InputError(f"{where}: router.policy {ROUTING_POLICIES.must_be_known(name)}")
    data = router.model_dump(mode="json")
    if name != router.policy:
        if any(pool.role and not can_decode(pool.role) for pool in study.fleet.pools):
            raise InputError(
                f"{where}: router.policy cannot change where pools compute prompts for others: the policies choose "
                "pairs of replicas in different ways; make runs of their own"
            )
        data = {key: value for key, value in data.items() if key in RouterOptions.model_fields}
    for key, value in options.items():
        _put(data, key, value)
    try:
        changed = ROUTING_POLICIES.get(name).options.model_validate(data)
    except ValidationError as error:
        raise InputError(_first(error, where, "router")) from None
    assert isinstance(changed, RouterOptions)
    if changed.own_admission != router.own_admission and not study.admission.is_active:
        raise InputError(
            f"{where}: the configuration of {name!r} means another admission than that at the start, which cannot "
            "change; set the block admission"
        )
    return changed


def _observations(router: RouterOptions, models: Mapping[str, str], where: str) -> Observation:
    """Return what the policies of all models observe together."""
    found = []
    for model in dict.fromkeys(models.values()):
        members = [Candidate(0, name) for name, own in models.items() if own == model]
        candidates = Candidates(len(members), 0, [0] * len(members), members)
        try:
            found.append(build_policy(router, candidates).observation)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return strictest(found)


def _check_samples(first: Observation, later: Observation, where: str) -> None:
    """Refuse a policy that reads other samples than replicas can give beside those of the policy at the start."""
    reason = contradiction(first, later)
    if later.is_instantaneous and not first.is_instantaneous:
        reason = "perfect knowledge (router.telemetry.period_ms: 0) must be there from the start"
    if reason:
        raise InputError(f"{where}: the policy would read other samples than that at the start: {reason}")


def _replica_count(study: Study, number: int, value: Any, where: str) -> ReplicaCount:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"{where}: replicas must be a whole number that is not below 0; got {value!r}")
    _must_not_be_scaled(study, study.fleet.pools[number].name, where)
    return ReplicaCount(number, value)


def _upgrade(
    study: Study, upgrade: UpgradeOptions, names: list[str], models: Mapping[str, str], where: str
) -> BeginUpgrade:
    for key, name in (("pool", upgrade.pool), ("to", upgrade.to)):
        if name not in models:
            raise InputError(f"{where}.{key}: there is no pool {name!r}; known: {', '.join(names)}")
        _must_not_be_scaled(study, name, where)
    if upgrade.pool == upgrade.to:
        raise InputError(f"{where}.to: a pool cannot take its own place; name another pool of the same model")
    if models[upgrade.pool] != models[upgrade.to]:
        raise InputError(
            f"{where}.to: {upgrade.to!r} serves {models[upgrade.to]}, not {models[upgrade.pool]} as {upgrade.pool!r}"
        )
    limits = (upgrade.max_surge_percent, upgrade.max_unavailable_percent)
    return BeginUpgrade(names.index(upgrade.pool), names.index(upgrade.to), *limits)


def _must_not_be_scaled(study: Study, name: str, where: str) -> None:
    if study.autoscaler is not None and name in (study.autoscaler.pools or [name]):
        raise InputError(f"{where}: the autoscaler decides about the replicas of {name!r}; leave it out of its pools")


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        data = data.setdefault(part, {})
    data[last] = value


def _first(error: ValidationError, where: str, block: str) -> str:
    fault = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {block}{'.' if place else ''}{place}: {fault['msg'].removeprefix('Value error, ')}"
