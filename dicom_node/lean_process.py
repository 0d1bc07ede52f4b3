"""For the processes that receive: what they do without, and a bound on the memory that anybody's objects may cost them.

A few hundred kB of hostile header, or a thousand frames of an honest one, become over a hundred times as much while
they are parsed. Past the bound that object is refused; without one the machine's out-of-memory killer would choose.
"""

from __future__ import annotations

import resource
import sys

#: What pydicom loads wherever it finds it, to decode pixels and to download: 40 MB in a process that does neither. A
#: module of ours that needs one of them cannot be imported there, which is how it is noticed that it crept in.
_UNUSED = ("gdcm", "PIL", "pylibjpeg", "openjpeg", "libjpeg", "rle", "jpeg_ls", "requests", "numpy")

#: Heap and private mappings. A receiver at work takes 0.1 GB.
MOST_BYTES = 3 << 30


def be_lean(most_bytes: int = MOST_BYTES) -> None:
    """Have pydicom find no pixel library in this process, and allocations past `most_bytes` end in a MemoryError.

    Without effect on pydicom where it is loaded already; a lower limit that is set already stays.
    """
    if "pydicom" not in sys.modules:
        # None makes an import fail as that of a library that is not installed.
        sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (most_bytes, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
