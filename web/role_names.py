"""Which contrast an uploaded NIfTI file shows, told from its name."""

from __future__ import annotations

import re

from pipeline.volume import SeriesRole

#: Words in a file's name, as BraTS ('_t1ce', '-t1c', '-t1n', '-t2w', '-t2f') and people write them.
_WORDS: dict[str, SeriesRole] = {
    **dict.fromkeys(("t1ce", "t1c", "t1gd", "t1post", "t1km", "t1wce", "t1contrast"), SeriesRole.T1CE),
    **dict.fromkeys(("flair", "t2f", "t2flair"), SeriesRole.FLAIR),
    **dict.fromkeys(("t1", "t1n", "t1w", "t1native"), SeriesRole.T1),
    **dict.fromkeys(("t2", "t2w"), SeriesRole.T2),
}
_CONTRAST_WORDS = frozenset({"ce", "gd", "post", "contrast", "postcontrast", "km"})
_LABEL_WORDS = frozenset({"seg", "mask", "label", "labels", "segmentation"})


class UnclearName(ValueError):
    """A file name from which no single contrast follows."""


def role_from_name(name: str) -> SeriesRole:
    """Return the role a file's name says, e.g. 'BraTS20_001_t1ce.nii.gz' is T1CE and 't2.nii' is T2.

    Raises:
        UnclearName: no role's word in the name, several roles' words, or the name of a label map.
    """
    stem = re.sub(r"\.nii(\.gz)?$", "", name.rsplit("/", 1)[-1].rsplit("\\", 1)[-1].casefold())
    words = [word for word in re.split(r"[^a-z0-9]+", stem) if word]
    if _LABEL_WORDS & set(words):
        raise UnclearName("the name is that of a label map; only the MRI series are uploaded")
    roles = {_WORDS[word] for word in words if word in _WORDS}
    if SeriesRole.FLAIR in roles:
        roles.discard(SeriesRole.T2)
    if roles == {SeriesRole.T1} and _CONTRAST_WORDS & set(words):
        return SeriesRole.T1CE
    if len(roles) != 1:
        raise UnclearName(
            "the name does not say one contrast; name the files by role, e.g. case_t1.nii.gz, case_t1ce.nii.gz, "
            "case_t2.nii.gz and case_flair.nii.gz, or choose the roles in the upload form"
        )
    return roles.pop()
