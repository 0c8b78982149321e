"""Options that are small languages: slices, shapes, offsets. Each error names its option."""


def parse_shape(text: str, ndim: int) -> tuple[int, ...] | None:
    """``"120,256,256"``; None for an empty text."""
    if not text:
        return None
    try:
        shape = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if len(shape) != ndim or min(shape) < 1:
        wanted = "Z,Y,X" if ndim == 3 else "Y,X"
        raise ValueError(f"--shape: expected {wanted} as positive integers for this scan, got {text!r}")
    return shape


def parse_slice(option: str, text: str) -> slice:
    """``"a:b"``, ``"a:b:step"`` with parts left out at will, as Python writes it."""
    parts = text.split(":")
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] is not None and numbers[2] < 1):
        raise ValueError(f"{option}: expected a slice such as 0:180 or ::2, got {text!r}")
    return slice(*numbers)


def parse_region(text: str, axes: int) -> tuple[slice, ...] | None:
    """``"0:25,0:20"``, a slice for each detector axis; None for an empty text."""
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != axes:
        wanted = "ROWS,COLS such as 0:25,0:20" if axes == 2 else "one slice of columns such as 0:20"
        raise ValueError(f"--background: expected {wanted} for this scan, got {text!r}")
    return tuple(parse_slice("--background", part) for part in parts)


def parse_axis_offset(text: str) -> float | None:
    """``"auto"`` gives None, anything else must be a number of pixels."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--axis-offset: expected auto or a number of pixels, got {text!r}") from None
