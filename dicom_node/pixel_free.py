"""For the processes that receive: without what pydicom loads wherever it finds it, to decode pixels and to download.

These libraries take 40 MB in a process that does neither. A module of ours that needs one of them cannot be imported
there, which is how it is noticed that it crept in.
"""

from __future__ import annotations

import sys

_UNUSED = ("gdcm", "PIL", "pylibjpeg", "openjpeg", "libjpeg", "rle", "jpeg_ls", "requests", "numpy")


def keep_pixel_libraries_out() -> None:
    """Have pydicom find none of them in this process. Without effect where it is loaded already."""
    if "pydicom" not in sys.modules:
        # None makes an import fail as that of a library that is not installed.
        sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]
