"""Reads the parts of nnU-Net's plans that prediction needs, within limits that any machine can handle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, model_validator

from nnunetv2_cfseg.files.schema import Document, PlainName, Real, Whole, check_document, short
from nnunetv2_cfseg.files.text_files import read_json

LIMIT_BYTES = 4 * 2**20
#: The one network that this package's trainers train and its prediction runs.
NETWORK_CLASS = "nnunetv2_cfseg.networks.BlockCenterTransformer"
#: More ancestors than any plans have.
MOST_ANCESTORS = 20
#: Most tokens of a block. Attention grows with their square.
MOST_TOKENS = 2**15
#: The same where attention has a radius: its mask is built for every pair of tokens.
MOST_MASKED_TOKENS = 2**12
MOST_PATCH_VOXELS = 2**18

GREATEST_SIZE = 4096

Positive = Annotated[Whole, Field(ge=1, le=GREATEST_SIZE)]
Spacing = Annotated[Real, Field(ge=0.001, le=1000)]
Axis = Annotated[Whole, Field(ge=0, le=2)]
Hounsfield = Annotated[Real, Field(ge=-1e6, le=1e6)]
StandardDeviation = Annotated[Real, Field(ge=1e-3, le=1e6)]


def _size3(value: Any) -> tuple[int, int, int]:
    """Three sizes z, y, x; a single number is used for all axes."""
    values = value if isinstance(value, list | tuple) else [value] * 3
    if len(values) != 3 or not all(_is_size(size) for size in values):
        raise ValueError(f"must be one or three whole numbers from 1 to {GREATEST_SIZE}")
    z, y, x = map(int, values)
    return z, y, x


def _is_size(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 1 <= value <= GREATEST_SIZE and value == int(value)


Size3 = Annotated[tuple[int, int, int], BeforeValidator(_size3)]


class Window(Document):
    """A channel of the network's bank of windows."""

    mean: Hounsfield
    std: StandardDeviation
    windows_hu: Annotated[list[tuple[Hounsfield, Hounsfield]], Field(min_length=1, max_length=64)]


class NetworkSizes(Document):
    """The entries of ``arch_kwargs`` that determine the network's size. The network checks the others itself."""

    patch_size: Size3
    block_patches: Size3
    center_patches: Size3 = (1, 1, 1)
    embed_dim: Annotated[Whole, Field(ge=1, le=16384)]
    depth: Annotated[Whole, Field(ge=0, le=256)]
    num_heads: Annotated[Whole, Field(ge=1, le=1024)]
    ffn_ratio: Annotated[Real, Field(gt=0, le=64)] = 4.0
    voxel_features: Positive = 16
    voxel_hidden: Positive = 32
    windows: Annotated[list[Window | None], Field(max_length=100)] | None = None
    chunk_blocks: Annotated[Whole, Field(ge=1, le=2**20)] = 512
    attention_radius: Annotated[Whole, Field(ge=1, le=8)] | None = None

    @model_validator(mode="after")
    def _check(self) -> NetworkSizes:
        tokens = MOST_TOKENS if self.attention_radius is None else MOST_MASKED_TOKENS
        for name, limit in (("patch_size", MOST_PATCH_VOXELS), ("block_patches", tokens)):
            if (product := prod(getattr(self, name))) > limit:
                raise ValueError(f"the product of {name} must be at most {limit}, got {product}")
        return self


class Architecture(Document):
    """The network's class and its arguments."""

    network_class_name: str
    arch_kwargs: dict[str, Any]


class Resampling(Document):
    """Arguments of nnU-Net's resampling."""

    force_separate_z: StrictBool | None = None


class ConfigurationPlans(Document):
    """A configuration, including what it inherits."""

    architecture: Architecture
    spacing: tuple[Spacing, Spacing, Spacing]
    normalization_schemes: Annotated[list[str], Field(min_length=1, max_length=100)]
    use_mask_for_norm: list[StrictBool]
    resampling_fn_data: str
    resampling_fn_probabilities: str
    resampling_fn_data_kwargs: Resampling
    resampling_fn_probabilities_kwargs: Resampling
    previous_stage: str | None = None
    data_identifier: PlainName | None = None


class Intensities(Document):
    """Statistics of the foreground, which ``CTNormalization`` uses."""

    mean: Hounsfield
    std: StandardDeviation
    percentile_00_5: Hounsfield
    percentile_99_5: Hounsfield

    @model_validator(mode="after")
    def _check(self) -> Intensities:
        if self.percentile_00_5 >= self.percentile_99_5:
            raise ValueError(
                f"percentile_00_5 must be below percentile_99_5, got {self.percentile_00_5} and {self.percentile_99_5}"
            )
        return self


class Plans(Document):
    """The top level of the plans."""

    dataset_name: PlainName | None = None
    plans_name: PlainName | None = None
    image_reader_writer: str
    transpose_forward: tuple[Axis, Axis, Axis]
    foreground_intensity_properties_per_channel: dict[str, dict[str, Any]]
    configurations: dict[str, dict[str, Any]]

    @model_validator(mode="after")
    def _check(self) -> Plans:
        if set(self.transpose_forward) != {0, 1, 2}:
            raise ValueError(f"transpose_forward must hold 0, 1 and 2, got {list(self.transpose_forward)}")
        return self


class ReaderPlans(Document):
    """The entries of plans that an evaluation needs."""

    image_reader_writer: str


def read_plans(file: Path) -> dict[str, Any]:
    """Read plans, check their top level, and return them unchanged.

    Raises:
        ValueError: there are none, they are no JSON, or an entry is missing or does not fit.
    """
    content = read_json(file, limit_bytes=LIMIT_BYTES)
    check_document(content, Plans, str(file))
    return content


def resolve(plans: Mapping[str, Any], name: str, file: str = "plans.json") -> dict[str, Any]:
    """A configuration merged with what it inherits, as nnU-Net does it.

    Raises:
        ValueError: the plans have no configurations; the configuration or one that it inherits from is missing; or they
            inherit from each other.
    """
    configurations = configurations_of(plans, file)
    chain: list[str] = []
    following: Any = name
    while True:
        if not isinstance(following, str) or following not in configurations:
            origin = f"configurations.{chain[-1]}.inherits_from" if chain else "the configuration"
            raise ValueError(f"{origin} must be one of {_few(configurations)}, got {short(following)}: {file}")
        if following in chain or len(chain) == MOST_ANCESTORS:
            raise ValueError(f"configurations must not inherit from each other, {' from '.join(chain)}: {file}")
        chain.append(following)
        if "inherits_from" not in configurations[following]:
            break
        following = configurations[following]["inherits_from"]
    merged = {key: value for ancestor in reversed(chain) for key, value in configurations[ancestor].items()}
    merged.pop("inherits_from", None)
    return merged


def configurations_of(plans: Mapping[str, Any], file: str = "plans.json") -> Mapping[str, Mapping[str, Any]]:
    """The configurations of plans by name, without what they inherit.

    Raises:
        ValueError: there are none, or they are no mappings.
    """
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict) or not all(isinstance(entry, dict) for entry in configurations.values()):
        raise ValueError(f"plans must have configurations by their names: {file}")
    return configurations


def _few(names: Iterable[str], limit: int = 10) -> str:
    """The first names for a message, and how many more there are."""
    every = [name if len(name) <= 60 else f"{name[:57]}..." for name in names]
    return ", ".join(every if len(every) <= limit else [*every[:limit], f"and {len(every) - limit} more"])
