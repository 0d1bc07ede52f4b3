from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.database import Database
from storage.errors import Conflict, NotFound
from storage.users import UserRepository, UserRow
from storage.vocabulary import AccountStatus, Role
from tests.unit.storage.conftest import FakeClock


@pytest.fixture
def users(database: Database, clock: FakeClock) -> UserRepository:
    return UserRepository(database, clock)


@pytest.fixture
def ada(users: UserRepository) -> UserRow:
    return users.create(username="Ada", email=" Ada@Clinic.Example ", hashed_password="$2b$secret", full_name="Ada L.")


def test_a_new_account_waits_for_approval(users: UserRepository, ada: UserRow, clock: FakeClock) -> None:
    assert (ada.username, ada.email, ada.full_name) == ("Ada", "ada@clinic.example", "Ada L.")
    assert (ada.role, ada.status, ada.token_version) == (Role.DOCTOR, AccountStatus.PENDING, 1)
    assert ada.created_at == clock()
    assert users.by_id(ada.id) == users.by_username("ADA") == users.by_email("ADA@clinic.example") == ada
    assert users.by_username("bob") is None
    assert users.by_email("bob@clinic.example") is None


def test_the_hash_is_never_shown(ada: UserRow) -> None:
    assert "secret" not in repr(ada)


@pytest.mark.parametrize(
    ("username", "email", "field"),
    [("ADA", "other@x.y", "username"), ("\uff21da", "other@x.y", "username"), ("bob", "ada@CLINIC.example", "email")],
)
def test_a_taken_name_or_address_is_refused_by_name(
    users: UserRepository, ada: UserRow, username: str, email: str, field: str
) -> None:
    with pytest.raises(Conflict, match=field) as refused:
        users.create(username=username, email=email, hashed_password="x")
    assert refused.value.field == field
    assert users.count() == 1


def test_of_many_registrations_at_once_one_wins(users: UserRepository) -> None:
    def register(number: int) -> bool:
        try:
            users.create(username="eve", email=f"eve{number}@x.y", hashed_password="x")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(register, range(8))) == 1


def test_rights_passwords_and_status_void_older_tokens(users: UserRepository, ada: UserRow) -> None:
    assert users.update_profile(ada.id, title="Dr.", email="NEW@x.y").token_version == 1
    assert users.approve(ada.id).status is AccountStatus.ACTIVE
    assert users.set_role(ada.id, Role.ADMIN).role is Role.ADMIN
    assert users.set_password(ada.id, "$2b$new").hashed_password == "$2b$new"
    assert users.revoke_tokens(ada.id).token_version == 5
    after = users.set_status(ada.id, AccountStatus.DISABLED)
    assert (after.title, after.email, after.status, after.token_version) == ("Dr.", "new@x.y", "disabled", 6)


def test_a_profile_has_no_rights_in_it(users: UserRepository, ada: UserRow) -> None:
    with pytest.raises(ValueError, match="role"):
        users.update_profile(ada.id, role="admin")
    users.create(username="bob", email="bob@x.y", hashed_password="x")
    with pytest.raises(Conflict, match="email"):
        users.update_profile(ada.id, email="bob@x.y")


def test_accounts_are_listed_and_counted(users: UserRepository, ada: UserRow) -> None:
    bob = users.create(username="bob", email="b@x.y", hashed_password="x", role=Role.ADMIN, status=AccountStatus.ACTIVE)
    assert users.list_users() == [ada, bob]
    assert users.list_users(AccountStatus.PENDING) == [ada]
    assert users.count(role=Role.ADMIN, status=AccountStatus.ACTIVE) == 1
    assert users.count(role=Role.ADMIN, status=AccountStatus.PENDING) == 0


def test_an_unknown_account_is_named(users: UserRepository) -> None:
    with pytest.raises(NotFound, match="no user '7'"):
        users.by_id(7)
    with pytest.raises(NotFound, match="no user '7'"):
        users.approve(7)
