"""Is there a CUDA device that JAX can use? ``python tests/gpu/device.py`` says which, or why not with exit code 1.

Asks the driver, not JAX: starting JAX's CUDA back end on a machine without a GPU takes seconds and warns.
"""

import argparse
import ctypes
import importlib.util
import os
import sys
from dataclasses import dataclass

_COMPUTE_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


@dataclass(frozen=True)
class Device:
    """The first device that the driver shows."""

    name: str
    capability: tuple[int, int]
    cuda: tuple[int, int]  # the newest CUDA that the driver runs

    @property
    def architecture(self) -> str:
        """For CMAKE_CUDA_ARCHITECTURES: machine code for this device alone."""
        return "{}{}-real".format(*self.capability)

    def __str__(self) -> str:
        return "{}, compute capability {}.{}, driver for CUDA {}.{}".format(self.name, *self.capability, *self.cuda)


class NoDeviceError(RuntimeError):
    """There is none; the message says why."""


def find_device() -> Device:
    """The device that the GPU checks run on.

    Raises:
        NoDeviceError: JAX has no CUDA plugin or is told not to use it, or the driver shows no device.
    """
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        raise NoDeviceError(f"JAX_PLATFORMS={platforms} leaves CUDA out")
    if not any(importlib.util.find_spec(name) for name in _PLUGINS):
        raise NoDeviceError(f"JAX has no CUDA plugin in {sys.executable} (pip install 'jax[cuda13]' or 'jax[cuda12]')")
    return _ask_driver()


def _ask_driver() -> Device:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise NoDeviceError(f"there is no CUDA driver ({error})") from error
    count, device = ctypes.c_int(), ctypes.c_int()
    _check(driver.cuInit(0), "cuInit")
    _check(driver.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    if count.value == 0:
        raise NoDeviceError("the CUDA driver shows no device")
    name = ctypes.create_string_buffer(256)
    _check(driver.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    _check(driver.cuDeviceGetName(name, len(name), device), "cuDeviceGetName")
    major, minor = (_attribute(driver, device, which) for which in _COMPUTE_CAPABILITY)
    version = ctypes.c_int()
    _check(driver.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    return Device(name.value.decode(), (major, minor), (version.value // 1000, version.value % 1000 // 10))


def _attribute(driver: ctypes.CDLL, device: ctypes.c_int, which: int) -> int:
    value = ctypes.c_int()
    _check(driver.cuDeviceGetAttribute(ctypes.byref(value), which, device), "cuDeviceGetAttribute")
    return value.value


def _check(status: int, call: str) -> None:
    if status != 0:
        raise NoDeviceError(f"the CUDA driver answers {call} with error {status}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", action="store_true", help="print what CMAKE_CUDA_ARCHITECTURES should be")
    options = parser.parse_args()
    try:
        device = find_device()
    except NoDeviceError as error:
        print(f"No GPU to check or measure on: {error}.", file=sys.stderr)
        return 1
    print(device.architecture if options.architecture else f"GPU: {device}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
