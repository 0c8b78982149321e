"""What a PET file is, told by its content."""

import os
from pathlib import Path
from typing import Literal

from jaxct.io._interfile_keys import Keys, is_interfile
from jaxct.io.petlink_header import header_beside, is_list_mode_header
from jaxct.io.petsird import is_petsird

PetFileKind = Literal["sinograms", "volume", "list_mode", "petsird"]


def pet_file_kind(path: str | os.PathLike) -> PetFileKind | None:
    """Which reader takes a file; None for other files.

    - ``"sinograms"``: :func:`jaxct.io.open_sinograms` (an Interfile header with segments);
    - ``"volume"``: :func:`jaxct.io.load_volume` (any other Interfile header);
    - ``"list_mode"``: :func:`jaxct.io.read_list_mode` (a header of Siemens list mode, or the file of one beside it);
    - ``"petsird"``: :func:`jaxct.io.read_petsird`.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where several list-mode headers name the file, or one that does cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if is_list_mode_header(path):
        return "list_mode"
    if is_interfile(path):
        keys = Keys(path)
        return "sinograms" if "minimum ring difference per segment" in keys else "volume"
    if is_petsird(path):
        return "petsird"
    return None if header_beside(path) is None else "list_mode"
