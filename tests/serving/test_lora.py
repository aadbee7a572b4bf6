"""LoRA adapters in slots."""

from cluster_sim.serving.lora import Lora, LoraSlots


def test_an_adapter_too_many_waits_until_one_leaves() -> None:
    """With two slots a third adapter may run only after one of the first two has none running."""
    slots = LoraSlots(Lora(max_loras=2, load_ms=10))
    assert slots.enter("a") == 10_000_000
    assert slots.enter("b") == 10_000_000
    assert slots.can_run("a")
    assert not slots.can_run("c")
    slots.leave("a")
    assert slots.can_run("c")


def test_resident_adapters_load_once() -> None:
    """An adapter still in its slot costs nothing; the one used longest ago gives way."""
    slots = LoraSlots(Lora(max_loras=2, load_ms=10))
    for name in ("a", "b"):
        slots.enter(name)
        slots.leave(name)
    assert slots.enter("a") == 0
    slots.leave("a")
    assert slots.enter("c") == 10_000_000
    slots.leave("c")
    assert slots.enter("b") == 10_000_000


def test_the_base_model_needs_no_slot() -> None:
    """A request without an adapter always may run and waits for nothing."""
    slots = LoraSlots(Lora(max_loras=1))
    slots.enter("a")
    assert slots.can_run("")
    assert slots.enter("") == 0
