from __future__ import annotations

from pathlib import Path

import pytest

from dicom_node.config import ConfigurationInvalid, load_config
from dicom_node.web_oidc import oidc_settings
from dicom_node.web_secrets import web_secret
from storage.vocabulary import Role


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BTN_NODE__PORT", "11200")
    config = load_config(written(tmp_path, "node: {port: 11150, ae_title: OTHER}"))
    assert (config.node.port, config.node.ae_title) == (11200, "OTHER")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nod: {port: 1}", "nod"),
        ("node: {prot: 1}", "node.prot"),
        ("node: {port: 70000}", "node.port"),
        ("node: {port: abc}", "node.port"),
        ("node: {ae_title: SEVENTEENLETTERS_}", "node.ae_title"),
        ("destinations: [{name: a, ae_title: B, host: h, port: 0}]", "destinations.0"),
        ("web: {registration: everybody}", "web.registration"),
        ("web: {secret: 0123456789}", "web.secret"),
        ("[1, 2]", "top level"),
        ("node: [", "line 1"),
    ],
)
def test_a_wrong_key_or_value_is_named_by_its_path(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=named.replace(".", r"\.")):
        load_config(written(tmp_path, text))


def test_two_destinations_of_one_name_are_refused(tmp_path: Path) -> None:
    one = "{name: pacs, ae_title: P, host: h, port: 104}"
    with pytest.raises(ConfigurationInvalid, match="one name"):
        load_config(written(tmp_path, f"destinations: [{one}, {one}]"))


def test_an_absent_file_is_said_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="--config"):
        load_config(tmp_path / "none.yaml")


def test_a_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, f"storage: {{root: {tmp_path / 'root'}}}"))
    first = web_secret(config)
    path = tmp_path / "root" / "web-secret"
    assert len(first) >= 32
    assert web_secret(config) == first
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "secret"
    short.write_text("too short\n")
    with pytest.raises(ConfigurationInvalid, match="32 bytes"):
        web_secret(load_config(written(tmp_path, f"web: {{secret_file: {short}}}")))


OIDC = "issuer: 'https://login.example', client_id: node, public_url: 'https://node.example', secret_env: OIDC_SECRET"


def test_the_identity_providers_secret_comes_from_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, f"web: {{oidc: {{{OIDC}, roles: {{map: {{mri: technician}}}}, create_accounts: true}}}}")
    with pytest.raises(ConfigurationInvalid, match="OIDC_SECRET holds, and that is not set"):
        oidc_settings(load_config(path))
    monkeypatch.setenv("OIDC_SECRET", "the secret")
    settings = oidc_settings(load_config(path))
    assert settings is not None
    assert (settings.client_secret, dict(settings.role_map)) == ("the secret", {"mri": Role.TECHNICIAN})
    assert oidc_settings(load_config(None)) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("registration: closed, oidc: {create_accounts: true}", "registration is closed"),
        ("oidc: {roles: {map: {mri: radiographer}}}", "web.oidc.roles.map.mri"),
        ("oidc: {client_secret: abc}", "web.oidc.client_secret"),
    ],
)
def test_what_cannot_be_of_an_identity_provider_is_named(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=named.replace(".", r"\.")):
        load_config(written(tmp_path, f"web: {{{text}}}"))


def test_an_address_of_the_identity_provider_in_the_clear_is_refused(tmp_path: Path) -> None:
    text = OIDC.replace("https://login", "http://login").replace("OIDC_SECRET", "''")
    with pytest.raises(ConfigurationInvalid, match=r"web\.oidc\.issuer: .*must be https"):
        oidc_settings(load_config(written(tmp_path, f"web: {{oidc: {{{text}}}}}")))
