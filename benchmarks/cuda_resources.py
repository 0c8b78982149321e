"""What nvcc says of every CUDA kernel: threads, registers, spills, stack, and how full a multiprocessor then is.

``python benchmarks/cuda_resources.py --arch sm_90`` compiles ``xla_ffi/cuda/*.cu`` and prints a Markdown table. Needs
nvcc, and no GPU.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "xla_ffi"
# Of a release build; --fmad=false also stands in cmake/JaxctCuda.cmake, with the reason.
FLAGS = ("-std=c++17", "-O3", "--fmad=false", "-Xptxas=-v")
REGISTERS_PER_MULTIPROCESSOR, MOST_THREADS = 65536, 2048

_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)
# In PTX: the name, the parameters in brackets, then what __launch_bounds__ says.
_BLOCK = re.compile(r"\.entry (?P<name>\w+)\([^)]*\)\s*\.maxntid (?P<threads>\d+)")


@dataclass(frozen=True)
class Kernel:
    """One line of the report."""

    name: str
    threads: int  # of a block
    registers: int
    spills: int
    stack: int

    def occupancy(self) -> float:
        """Share of a multiprocessor's threads that its registers allow."""
        per_thread = -(-self.registers // 8) * 8
        blocks = REGISTERS_PER_MULTIPROCESSOR // (per_thread * self.threads)
        return min(MOST_THREADS, blocks * self.threads) / MOST_THREADS


def parse(log: str, ptx: str) -> Iterator[Kernel]:
    """The kernels in the output of ptxas, and how many threads a block of each has according to the PTX."""
    threads = {match["name"]: int(match["threads"]) for match in _BLOCK.finditer(ptx)}
    for match in _ENTRY.finditer(log):
        name, spills = match["name"], int(match["stores"]) + int(match["loads"])
        yield Kernel(_short(name), threads[name], int(match["registers"]), spills, int(match["stack"]))


def _short(mangled: str) -> str:
    """``ForwardColumns<SeparableFootprint, float, Half, 16, planar>`` for the mangled name of a kernel."""
    readable = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout.strip()
    body = readable.partition("run_body<")[2].rpartition(">(")[0]
    body = body.replace("jaxct::baseline::", "").replace("cuda::", "")
    body = re.sub(r"^Back<(Ray|Column)Gather(<.*?(true|false)>).*", r"Back\1s\2", body)
    return body.replace(", true>", ", planar>").replace(", false>", ", volume>").replace("> >", ">>").strip()


def compile_all(arch: str) -> Iterator[Kernel]:
    """Compile every file of kernels; a kernel that several files share comes once."""
    seen = set()
    for source in sorted((SOURCES / "cuda").glob("*.cu")):
        with tempfile.TemporaryDirectory() as folder:
            keep = ("--keep", "--keep-dir", folder, "-o", f"{folder}/out.o")
            command = ["nvcc", *FLAGS, f"-arch={arch}", f"-I{SOURCES}", "-c", str(source), *keep]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{source.name}: {done.stderr}")
            ptx = Path(folder, f"{source.stem}.ptx").read_text()
        for kernel in parse(done.stderr, ptx):
            if kernel not in seen:
                seen.add(kernel)
                yield kernel


def table(kernels: list[Kernel]) -> str:
    """A Markdown table, by name."""
    lines = ["| kernel | threads | registers | occupancy | spilled bytes | stack |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{k.name}` | {k.threads} | {k.registers} | {k.occupancy():.0%} | {k.spills} | {k.stack} |"
        for k in sorted(kernels, key=lambda k: k.name)
    ]
    return "\n".join(lines)


def main() -> None:
    """Compile and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", default="sm_90", help="as for nvcc -arch (default: %(default)s)")
    arguments = parser.parse_args()
    print(table(list(compile_all(arguments.arch))))


if __name__ == "__main__":
    main()
