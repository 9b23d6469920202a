"""What a compiled graph's results depend on, beside its inputs."""

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

_WITHOUT_STATE = {"While", "If", "Case", "StatefulPartitionedCall", "Assert", "PrintV2"}
"""Operations that TensorFlow counts as stateful because of what they call or print."""


def other_variables(graph: Any, known: Sequence[tf.Variable]) -> list[tf.Variable]:
    """The variables of a concrete function that are not `known`, in the order of their first use.

    A generator's state is such a variable if the generator belongs to no layer.
    """
    captured = _captured(graph)
    handles = captured.keys() - {id(variable.handle) for variable in known}
    by_handle = {id(variable.handle): variable for variable in graph.variables}
    return [by_handle[handle] for handle in captured if handle in handles & by_handle.keys()]


def has_hidden_state(graph: Any, known: Sequence[tf.Variable]) -> bool:
    """Whether a concrete function depends on state that is in no variable.

    Random operations such as `tf.random.normal` keep their state in TensorFlow's kernels, Python
    functions (`tf.py_function`) anywhere.
    """
    variables = {id(variable.handle) for variable in [*known, *graph.variables]}
    if _captured(graph).keys() - variables:
        return True
    return any(
        definition.is_stateful
        and definition.name not in _WITHOUT_STATE
        and not any(
            argument.type == tf.resource.as_datatype_enum for argument in definition.input_arg
        )
        for definition in _operations(graph.graph)
    )


def _captured(graph: Any) -> dict[int, Any]:
    """The handles of variables, tables and the like that a concrete function uses, by identity."""
    return {id(handle): handle for handle in graph.captured_inputs if handle.dtype == tf.resource}


def _operations(graph: tf.Graph) -> Iterator[Any]:
    """The definitions of the operations in a graph and in all functions that it calls."""
    content = graph.as_graph_def()
    functions = {function.signature.name for function in content.library.function}
    nodes = [content.node, *(function.node_def for function in content.library.function)]
    names = {node.op for part in nodes for node in part} - functions
    return (graph.op_def_for_type(name) for name in sorted(names))
