"""Certificates for tests: authorities, and those they issue for this machine, made with OpenSSL."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """NAME.pem and NAME.key in `folder`, with which it issues."""

    def __init__(self, openssl: str, folder: Path, name: str = "ca") -> None:
        self.openssl, self.folder, self.name = openssl, folder, name
        self.certificate = folder / f"{name}.pem"
        subject = ("-subj", f"/CN={name}")
        self._run(("req", "-x509", *_CURVE, "-days", "90", *subject, "-keyout", f"{name}.key", "-out", f"{name}.pem"))

    def issue(self, name: str, *, days: int = 90) -> tuple[Path, Path]:
        """Certificate and key for localhost. days: from now; a negative number is an expired one."""
        self._run(("req", *_CURVE, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"))
        (self.folder / "names.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self._run(
            (
                "x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key",
                "-CAcreateserial", "-days", str(days), "-extfile", "names.ext", "-out", f"{name}.pem",
            )
        )  # fmt: skip
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _run(self, arguments: Sequence[str]) -> None:
        subprocess.run([self.openssl, *arguments], check=True, capture_output=True, cwd=self.folder)
