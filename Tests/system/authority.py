"""A throw-away certificate authority, made by the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Identity:
    """A server's certificate and key."""

    certificate: Path
    key: Path

    def lend(self, user: str) -> None:
        """Gives the key to a server's own user, where we are root."""
        if self.key.stat().st_uid == 0:
            shutil.chown(self.key, user)


class Authority:
    """Lives in a folder that anybody may enter; keys are for their owner alone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        self.folder = folder
        self.file = folder / "ca.pem"
        self._openssl(
            "req",
            "-x509",
            *CURVE,
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            f"/CN={uuid4()}",
            "-days",
            "2",
        )

    def issue(self, name: str, *names: str, expired: bool = False) -> Identity:
        """A certificate for host names, as `DNS:localhost`."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={','.join(names)}\n")
        self._openssl(
            "req", *CURVE, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name} of a test"
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-days", "-1" if expired else "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )
        return Identity(self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)
