"""The API's JSON about accounts and signing in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from web.schema_base import Schema

# Text that people type about themselves: one line, no control characters, kept as typed otherwise.
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Username = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=3, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
]
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s.]+$"),
]
# Longer than any usable password, so that the refusal can say why instead of reading a megabyte.
PasswordText = Annotated[str, StringConstraints(max_length=1024)]
AccountRole = Literal["admin", "doctor", "technician"]


class Registration(Schema):
    """A new account."""

    username: Username = Field(examples=["m.curie"])
    email: Email = Field(examples=["m.curie@hospital.example"])
    password: PasswordText = Field(examples=["a long pass phrase"])
    full_name: Line = Field("", examples=["Marie Curie"])
    title: Line = Field("", examples=["Dr."])
    department: Line = Field("", examples=["Neuroradiology"])
    institution: Line = Field("", examples=["Hospital"])


class Credentials(Schema):
    """What signs somebody in."""

    username: Annotated[str, StringConstraints(max_length=254)] = Field(examples=["m.curie"])
    password: PasswordText = Field(examples=["a long pass phrase"])


class ProfileChange(Schema):
    """Changes to one's own account; what is left out stays. A new password signs every device out."""

    email: Email | None = None
    full_name: Line | None = None
    title: Line | None = None
    department: Line | None = None
    institution: Line | None = None
    current_password: PasswordText | None = None
    new_password: PasswordText | None = None


class UserOut(Schema):
    """An account as others see it."""

    id: int
    username: str
    email: str
    full_name: str
    title: str
    department: str
    institution: str
    role: AccountRole
    status: Literal["active", "pending", "disabled"]
    created_at: datetime


class UserList(Schema):
    """Accounts, newest first."""

    items: list[UserOut]


class Approval(Schema):
    """The role an approved account gets."""

    role: AccountRole = "technician"


class RefreshRequest(BaseModel):
    """The refresh token that the last sign-in or refresh gave; it can be used once."""

    model_config = ConfigDict(extra="forbid")
    refresh_token: Annotated[str, StringConstraints(max_length=1024)] = Field(examples=["0b1f….kQ3x…"])


class TokenAnswer(BaseModel):
    """Tokens, named as OAuth 2 clients expect."""

    access_token: str
    refresh_token: str = Field(description="Exchange it at /api/auth/refresh for new tokens, once.")
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds until the token ends.")
    user: UserOut
