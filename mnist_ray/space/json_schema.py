"""The JSON Schema of search spaces, made from the models that read them; for editors.

It says less than reading a file does: rules between the sections are not in it.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mnist_ray.space.architecture import BUILT_IN, Custom
from mnist_ray.space.shipped import shipped_folder
from mnist_ray.space.space_file import SpaceFile

Schema = dict[str, Any]

_REF = "#/$defs/"

# A line a key: `key: what it means`, for editors to show; what is allowed is added from the model.
_MEANINGS = """\
# SpaceFile
name: The sweep's name, and that of its folder in the results
dataset: The images
classes: What the classes are called on the page, in place of the names that the data have
architectures: What is trained: built-in architectures and those of your own, by name
variants: How the images are presented, by name
training: How each model is trained
trials: Trials of each cell: a fixed number, or as many as a precision needs
seed: What all random draws follow from
search: A search over the sampled hyperparameters, in place of trials of each cell
confirm: Fresh trials of the search's winner and of the default
race: Whether configurations that are significantly worse get no more trials
early_stopping: How trials of a search are cut short between epochs
until: A difference that is to be known precisely
evaluate: Further test sets for every trained model
spread: How much of the spread over trials each source of randomness makes
checkpoint_every: Minutes between the checkpoints of a long trial, at least
# StoppingRule
at_least: Trials of each cell in any case
at_most: Trials of each cell that are not exceeded
within: A budget of working time, summed over all trials; it is spent where intervals are widest
until_ci95: Half-width of the mean's 95 % interval at which it is precise enough
# Search
algorithm: How configurations are proposed
configurations: How many are tried, of each architecture and variant
trials_each: Trials of each configuration
# Until
difference: Two architectures whose paired difference is meant
ci95: Half-width of its 95 % interval at which it is precise enough
# Evaluate
shifts: Largest shifts in pixels of the test sets
variants: Variants whose test images every model is graded on; they must be of one size
# Spread
sources: What varies alone, each in trials of its own
trials: Trials of each source
# FeedForward
hidden_units: Units of each hidden layer
dropout: Share of the units of each hidden layer that a training step leaves out
# Cnn
filters: Filters of each block's convolution
kernel_size: Side of the convolutions' kernels in pixels
pool_size: Side of the pooling windows in pixels
pool_stride: Step between pooling windows in pixels
dense_units: Units of the dense layer
dropout: Share of the dense layer's units that a training step leaves out
# Variant
transform: A function of your own from images to images, which the other keys are arguments of
shift: How far images are moved at most, over and down, in pixels
canvas: Side of the square canvas in pixels
# Training
epochs: Passes over the training images
batch_size: Images in a training step
validation_split: Share of the training images kept for validation
optimizer: Keras' optimizer
learning_rate: The optimizer's learning rate
precision: Kind of numbers that layers compute with
jit_compile: Whether training is compiled with XLA; auto: on GPUs alone
"""


def shipped_schema() -> Path:
    """The file of the schema, which lies beside the shipped spaces."""
    return shipped_folder() / "schema.json"


def schema_text() -> str:
    """The schema as the text of its file."""
    return json.dumps(space_schema(), indent=1, ensure_ascii=False) + "\n"


def space_schema() -> Schema:
    """The schema, in draft 7 of JSON Schema, which editors know best."""
    models: list[type[BaseModel]] = [SpaceFile, Custom, *BUILT_IN.values()]
    _, document = models_json_schema([(model, "validation") for model in models])
    definitions: dict[str, Schema] = document["$defs"]
    for name, definition in definitions.items():
        _explain(definition, _meanings().get(name, {}))
        if definition["type"] == "object" and "required" not in definition:
            definition["type"] = ["object", "null"]  # as in `centered:`
    definitions["Named"] = _named(definitions)
    variant = definitions["Variant"]
    of_its_own = {"propertyNames": {"enum": [*variant["properties"]]}}
    variant |= {"if": {"required": ["transform"]}, "then": {}, "else": of_its_own}
    for read in ("Architecture", "Optimizer", "Schedule"):
        definitions.pop(read, None)  # the model of what was read, not of what is written
    space = definitions.pop("SpaceFile")
    allowed = space["properties"]["architectures"]["description"]
    space["properties"]["architectures"] = {**_architectures(), "description": allowed}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A search space of mnist_ray",
        **_in_draft_7(space),
        "$defs": _in_draft_7(definitions),
    }


def _meanings() -> dict[str, dict[str, str]]:
    """What each key means, by the names of its model and its own."""
    sections = (section.splitlines() for section in _MEANINGS.split("# ")[1:])
    return {name: dict(line.split(": ", 1) for line in lines) for name, *lines in sections}


def _explain(definition: Schema, meanings: dict[str, str]) -> None:
    for key, field in definition.get("properties", {}).items():
        allowed = field.get("description")
        parts = [meanings.get(key), allowed and f"Allowed: {allowed}"]
        field["description"] = ". ".join(filter(None, parts))


def _architectures() -> Schema:
    """By name: one that is called like a built-in is that, unless `build` says otherwise."""
    has_build = {"type": "object", "required": ["build"]}
    named = {"$ref": f"{_REF}Named"}
    return {
        "type": "object",
        "minProperties": 1,
        "properties": {
            name: {"if": has_build, "then": named, "else": {"$ref": _REF + model.__name__}}
            for name, model in BUILT_IN.items()
        },
        "additionalProperties": named,
    }


def _named(definitions: dict[str, Schema]) -> Schema:
    """An architecture with `build`, which decides what hyperparameters it has."""
    schema: Schema = {"$ref": f"{_REF}{Custom.__name__}"}
    own = r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$"
    for builder, model in BUILT_IN.items():
        definitions[model.__name__]["properties"]["build"] = {
            "const": builder,
            "description": "What builds the model",
        }
        is_built = {"properties": {"build": {"const": builder}}}
        schema = {"if": is_built, "then": {"$ref": _REF + model.__name__}, "else": schema}
    build = {
        "anyOf": [{"enum": [*BUILT_IN]}, {"type": "string", "pattern": own}],
        "description": f'{", ".join(BUILT_IN)} or "module:function" of your own, in a module '
        "beside this file",
    }
    return {"type": "object", "required": ["build"], "properties": {"build": build}, **schema}


def _in_draft_7(schema: Any) -> Any:
    """Without what later drafts alone know, and without titles that only repeat a key."""
    if isinstance(schema, list):
        return [_in_draft_7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {k: _in_draft_7(v) for k, v in schema.items() if not (k == "title" and type(v) is str)}
    if "prefixItems" in kept:
        kept["items"] = kept.pop("prefixItems")
    return kept
