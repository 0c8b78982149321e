"""The ``key := value`` lines of Interfile headers and of those akin to them.

A. Todd-Pokropek, T. D. Cradduck, F. Deconinck, "A file format for the exchange of nuclear medicine image data: a
specification of Interfile version 3.3", Nucl. Med. Commun. 13 (1992) 673-699.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

_SIGNATURE_BYTES = 512


def is_interfile(path: Path) -> bool:
    """Whether a file begins like an Interfile header."""
    with path.open("rb") as file:
        lines = file.read(_SIGNATURE_BYTES).decode("latin-1").splitlines()
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith(";")), "")
    return ":=" in first and _plain(first.split(":=")[0]) == "interfile"


class Keys:
    """What a header says. Keys are compared without case, ``!``, ``%`` and superfluous blanks.

    Args:
        path: the header file.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is not an Interfile header.
    """

    def __init__(self, path: Path):
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
        if not is_interfile(path):
            raise ValueError(f"{path}: not an Interfile header; it does not begin with '!INTERFILE :='")
        self.path = path
        self.raw: dict[str, str] = {}
        self._values: dict[str, str] = {}
        # A backslash at the end of a line continues it.
        text = re.sub(r"\\[ \t]*\r?\n", " ", _decode(path.read_bytes()))
        for line in text.splitlines():
            key, separator, value = line.partition(":=")
            if not separator or key.lstrip().startswith(";"):
                continue
            if _plain(key) == "end of interfile":
                break
            self.raw[key.strip()] = value.strip()
            self._values[_plain(key)] = value.strip()

    def __contains__(self, key: str) -> bool:
        return bool(self._values.get(_plain(key)))

    def text(self, key: str, default: str | None = None) -> str:
        """The value as written; an empty one counts as missing."""
        if key in self:
            return self._values[_plain(key)]
        if default is None:
            raise ValueError(f"{self.path}: {key}: missing")
        return default

    def number(self, key: str, default: float | None = None) -> float:
        """One finite number."""
        if key not in self and default is not None:
            return default
        return self._numbers(key, 1)[0]

    def optional(self, key: str, factor: float = 1.0) -> float | None:
        """A positive number times ``factor``; None where it is missing, or marked as unknown by one that is not."""
        value = self.number(key, 0.0)
        return factor * value if value > 0 else None

    def count(self, key: str) -> int | None:
        """A positive integer; None where it is missing or marked as unknown by one that is not."""
        value = self.integer(key, 0)
        return value if value > 0 else None

    def integer(self, key: str, default: int | None = None) -> int:
        """One integer."""
        if key not in self and default is not None:
            return default
        return self._integers(key, 1)[0]

    def integers(self, key: str, count: int | None = None) -> tuple[int, ...]:
        """A list of integers, ``{1, 2}`` or a single ``1``; ``count`` says how many there have to be."""
        return self._integers(key, count)

    def numbers(self, key: str, count: int | None = None) -> tuple[float, ...]:
        """A list of numbers, likewise."""
        return self._numbers(key, count)

    def choice(self, key: str, choices: dict[str, Any], default: str | None = None) -> Any:
        """What a value stands for, compared without case."""
        value = self.text(key, default)
        if value.lower() not in choices:
            raise ValueError(f"{self.path}: {key}: expected one of {', '.join(choices)}, got {value!r}")
        return choices[value.lower()]

    def _numbers(self, key: str, count: int | None) -> tuple[float, ...]:
        text = self.text(key)
        try:
            values = tuple(float(word) for word in re.split(r"[\s,]+", text.strip("{} \t")))
        except ValueError:
            values = ()
        if not values or not np.isfinite(values).all() or count not in (None, len(values)):
            wanted = "numbers" if count is None else "a number" if count == 1 else f"{count} numbers"
            raise ValueError(f"{self.path}: {key}: expected {wanted}, got {text!r}")
        return values

    def _integers(self, key: str, count: int | None) -> tuple[int, ...]:
        values = self._numbers(key, count)
        if any(v != int(v) for v in values):
            raise ValueError(f"{self.path}: {key}: expected integers, got {self.text(key)!r}")
        return tuple(int(v) for v in values)

    def data_path(self, key: str = "name of data file") -> Path:
        """The data file, relative to the header's folder.

        Raises:
            FileNotFoundError: naming the key, the header and the file.
        """
        name = self.text(key)
        path = self.path.parent / name
        if not path.is_file():
            raise FileNotFoundError(f"{self.path}: {key}: no such file: {path}")
        return path

    def data_offset(self) -> int:
        """Bytes before the data of the first frame."""
        block = 2048 * self.integer("data starting block", 0)
        offset = self.integer("data offset in bytes[1]", self.integer("data offset in bytes", block))
        if offset < 0:
            raise ValueError(f"{self.path}: data offset in bytes: expected none or more, got {offset}")
        return offset

    def dtype(self) -> np.dtype:
        """The type of the stored numbers, in the byte order of the file (big-endian if it does not say)."""
        order = self.choice("imagedata byte order", {"littleendian": "<", "bigendian": ">"}, "BIGENDIAN")
        kind = self.choice("number format", _KINDS, "unsigned integer")
        size = self.integer("number of bytes per pixel", _SIZES.get(self.text("number format", "").lower()))
        if size not in ((4, 8) if kind == "f" else (1, 2, 4, 8)):
            name = self.text("number format", "unsigned integer")
            raise ValueError(f"{self.path}: number of bytes per pixel: no {name} has {size}")
        return np.dtype(f"{order}{kind}{size}")

    def scales(self, count: int) -> np.ndarray:
        """The factors of ``count`` parts (planes of a volume, segments of sinograms) of the first frame."""
        key = next((k for k in ("image scaling factor[1]", "image scaling factor") if k in self), None)
        if key is None:
            return np.full(count, self.number("quantification units", 1.0))
        values = np.asarray(self.numbers(key))
        if len(values) not in (1, count):
            raise ValueError(f"{self.path}: {key}: expected 1 or {count} numbers, got {len(values)}")
        return np.broadcast_to(values, count)

    def check_size(self, data: Path, needed: int) -> None:
        """Raise ValueError where the data file is shorter than the header promises."""
        size = data.stat().st_size
        if size < needed:
            raise ValueError(f"{data}: {size} bytes, but {self.path.name} promises {needed}: the file is truncated")


_KINDS = {"float": "f", "short float": "f", "long float": "f", "signed integer": "i", "unsigned integer": "u"}
_SIZES = {"short float": 4, "long float": 8}


def number_format(dtype: np.dtype) -> list[str]:
    """The header lines that say how numbers of this type are stored."""
    name = {"f": "float", "i": "signed integer", "u": "unsigned integer"}[dtype.kind]
    order = "BIGENDIAN" if dtype.str[0] == ">" else "LITTLEENDIAN"
    return [
        f"imagedata byte order := {order}",
        f"!number format := {name}",
        f"!number of bytes per pixel := {dtype.itemsize}",
    ]


def _decode(content: bytes) -> str:
    """UTF-8 where it is that; old headers are Latin-1."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _plain(key: str) -> str:
    words = key.replace("_", " ").lower().strip().lstrip("!%").split()
    return re.sub(r" *\[ *(\d+) *\]$", r"[\1]", " ".join(words))
