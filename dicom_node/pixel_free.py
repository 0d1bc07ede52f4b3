"""For the processes that receive: without what pydicom loads wherever it finds it, to decode pixels and to download.

These libraries take 25 MB in a process that does neither.
"""

from __future__ import annotations

import sys

_UNUSED = ("gdcm", "PIL", "pylibjpeg", "openjpeg", "libjpeg", "rle", "jpeg_ls", "requests")


def keep_decoders_out() -> None:
    """Have pydicom find none of them in this process. Without effect where it is loaded already."""
    if "pydicom" not in sys.modules:
        # None makes an import fail as that of a library that is not installed.
        sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]
