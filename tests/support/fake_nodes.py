"""Ray's fake node provider, for node types that say their memory.

Ray imports it by name, in the process of its autoscaler.
"""

from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider


class Provider(FakeMultiNodeProvider):  # type: ignore[misc]
    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],
        labels: dict[str, str],
    ) -> None:
        # Ray's own fails on memory, which a node finds out by itself; the autoscaler must know it
        # beforehand, or it adds no node for a trial that asks for some.
        rest = {name: amount for name, amount in resources.items() if name != "memory"}
        super().create_node_with_resources_and_labels(node_config, tags, count, rest, labels)
