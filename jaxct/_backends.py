"""What this installation can compute on, and where it cannot, why: :func:`jaxct.backends`."""

import importlib.metadata
import importlib.util
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import NamedTuple

import jax

from jaxct import _native


@dataclass(frozen=True)
class Backend:
    """The state of one back end. ``print`` shows it as a few lines.

    Attributes:
        platform: "cpu" or "cuda".
        built: its native module is part of this installation.
        loaded: the module is imported and its operators are registered with JAX.
        reason: what stands in the way of using it and what to do about it; empty if nothing is known to.
        details: how it was built and what it runs on, by name; values are text.
        devices: the names of this process's devices; None if JAX was not asked.
    """

    platform: str
    built: bool
    loaded: bool
    reason: str
    details: Mapping[str, str]
    devices: tuple[str, ...] | None

    def __str__(self) -> str:
        lines = [self._summary(), *(f"{name}: {value}" for name, value in self.details.items())]
        if self.devices is None:
            lines.append("devices: JAX was not asked; jaxct.backends(initialize=True) does")
        else:
            counts = Counter(self.devices).items()
            lines.append("devices: " + (", ".join(f"{count} x {name}" for name, count in counts) or "none"))
        return f"{self.platform:<8}" + ("\n" + 8 * " ").join(lines)

    def _summary(self) -> str:
        if not self.reason:
            return "ready" if self.devices else "loaded"
        state = "loaded, but not usable" if self.loaded else "not loaded" if self.built else "not built"
        return f"{state}: {self.reason}"


class Backends(NamedTuple):
    """Every back end that jaxct has, built or not."""

    cpu: Backend
    cuda: Backend

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def backends(*, initialize: bool = False) -> Backends:
    """Tell which back ends are built and loaded, and where one is not, why and what to do.

    Args:
        initialize: also ask JAX for its devices. This starts JAX's back ends, as its first computation would: on a
            GPU that takes memory, and ``jax.config`` and ``jax.distributed`` must be set up by then. Without it,
            ``devices`` is None and a missing driver goes unnoticed.

    Returns:
        A named tuple (cpu, cuda) of frozen :class:`Backend`; ``print(jaxct.backends())`` is a report.
    """
    return Backends(_cpu(initialize), _cuda(initialize))


def _cpu(initialize: bool) -> Backend:
    devices, trouble = _native.local_devices("cpu") if initialize else (None, "")
    return _backend("cpu", _cpu_details, devices, trouble and f"JAX has no CPU device ({trouble})")


def _cpu_details(module: ModuleType) -> dict[str, str]:
    return {"instruction set": module.instruction_set()}


def _cuda(initialize: bool) -> Backend:
    devices, trouble = _native.local_devices("cuda") if initialize else (None, "")
    module = _native.load()["cuda"].module
    obstacle = ""
    if module is not None:
        obstacle = _too_few_architectures(module, devices) if devices else _why_no_device(module, trouble)
    return _backend("cuda", _cuda_details, devices, obstacle)


def _cuda_details(module: ModuleType) -> dict[str, str]:
    plugins = [f"{name} {_plugin_version(name)}" for name in _cuda_plugins()]
    return {
        "CUDA toolkit": module.toolkit_version(),
        "architectures": " ".join(module.architectures()),
        "JAX's plugin": ", ".join(plugins) or "none",
    }


def _backend(
    platform: str, details: Callable[[ModuleType], dict[str, str]], devices: Sequence[jax.Device] | None, obstacle: str
) -> Backend:
    state = _native.load()[platform]
    described: dict[str, str] = {}
    if state.module is not None:
        described = details(state.module) | {"XLA FFI": _native.version_text(state.module.ffi_api_version())}
    return Backend(
        platform=platform,
        built=state.built,
        loaded=state.loaded,
        reason=state.reason or obstacle,
        details=MappingProxyType(described),
        devices=None if devices is None else tuple(map(_device_name, devices)),
    )


def _device_name(device: jax.Device) -> str:
    capability = getattr(device, "compute_capability", None)
    return f"{device.device_kind} (compute capability {capability})" if capability else device.device_kind


def _cuda_plugins() -> list[str]:
    """JAX's CUDA plugins, found where JAX looks for them, without importing one."""
    package = importlib.util.find_spec("jax_plugins")
    folders = package.submodule_search_locations if package else None
    return [plugin.name for plugin in pkgutil.iter_modules(folders or []) if plugin.name.startswith("xla_cuda")]


def _plugin_version(name: str) -> str:
    try:
        return importlib.metadata.version(f"jax-{name.removeprefix('xla_')}-pjrt")
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _allowed_platforms() -> str:
    return jax.config.jax_platforms or ""  # type: ignore[attr-defined]


def _why_no_device(module: ModuleType, trouble: str) -> str:
    """What keeps JAX from a GPU, as far as can be told: ``trouble`` is JAX's answer, empty if it was not asked."""
    allowed = _allowed_platforms()
    if allowed and not {"cuda", "gpu"} & set(allowed.split(",")):
        return f"JAX is told to use {allowed!r} alone: leave JAX_PLATFORMS unset, or add cuda to it"
    if not _cuda_plugins():
        extra = f"cuda{module.toolkit_version().split('.')[0]}"
        return f"JAX has no CUDA plugin: `pip install 'jax[{extra}]'`"
    if trouble:
        return (
            f"JAX finds no CUDA device ({trouble}): see whether `nvidia-smi` lists one, and what JAX wrote to stderr "
            "when it started"
        )
    return ""


def _too_few_architectures(module: ModuleType, devices: Sequence[jax.Device]) -> str:
    """Names the first device that the module has no code for."""
    known = module.architectures()
    for device in devices:
        capability = getattr(device, "compute_capability", None)
        if capability and not any(_runs_on(architecture, capability) for architecture in known):
            return (
                f"there is code for {' '.join(known)}, none of which runs on {_device_name(device)}: build jaxct with "
                f"`-C cmake.define.CMAKE_CUDA_ARCHITECTURES={capability.replace('.', '')}`"
            )
    return ""


def _runs_on(architecture: str, capability: str) -> bool:
    """Whether code for "sm_90" or "compute_90" runs on a device of compute capability "9.0".

    Machine code (sm) runs within its major version from its minor version on, PTX (compute) on everything later. With
    the suffix "a", either runs on that one capability alone; with "f", as machine code does.
    """
    match = re.fullmatch(r"(sm|compute)_(\d+)([af]?)", architecture)
    if match is None:
        return True  # a name of a later CUDA: the benefit of the doubt
    kind, number, suffix = match.groups()
    code, has = int(number), int(capability.replace(".", ""))
    if suffix == "a":
        return has == code
    later_in_its_major_version = has >= code and has // 10 == code // 10
    return later_in_its_major_version or (kind == "compute" and not suffix and has >= code)
