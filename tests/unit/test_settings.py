"""Settings: valid values, refusals, and the table in docs/operating.md."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nomadcrew.adapters.aws.sdk import config
from nomadcrew.cli.context import read_settings
from nomadcrew.core.errors import BadSetting
from nomadcrew.settings import AWS_PREFIX, Settings, as_table

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"
VARIABLES = [field.metadata["variable"] for field in fields(Settings)]
SECRET = "s3cret-" * 5


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("PORT", "0", "port", 0),
        ("PORT", " 9000 ", "port", 9000),
        ("NOMADCREW_HOME", "/srv/crew", "home", Path("/srv/crew")),
        ("NOMADCREW_PUBLIC_URL", "https://trips.example.org/", "public_url", "https://trips.example.org"),
        ("NOMADCREW_PUBLIC_URL", "http://[::1]:8080/base", "public_url", "http://[::1]:8080/base"),
        ("NOMADCREW_REGISTRATION", "Closed", "registration", "closed"),
        ("NOMADCREW_SMTP_URL", "smtps://u:p@mail.example.org", "smtp_url", "smtps://u:p@mail.example.org"),
        ("NOMADCREW_MAIL_FROM", "trips@example.org", "mail_from", "trips@example.org"),
        ("NOMADCREW_MAIL_FROM", "Crew <trips@example.org>", "mail_from", "Crew <trips@example.org>"),
        ("NOMADCREW_TRUSTED_PROXIES", "10.0.0.1, ,10.1.0.0/16", "trusted_proxies", ("10.0.0.1", "10.1.0.0/16")),
        ("NOMADCREW_METRICS_TOKEN", SECRET, "metrics_token", SECRET),
        ("NOMADCREW_INVITATION_SECRETS", f"{SECRET},{SECRET}2", "invitation_secrets", (SECRET, f"{SECRET}2")),
        ("LOG_LEVEL", "DEBUG", "log_level", "debug"),
    ],
)
def test_a_variable_sets_its_field(variable: str, text: str, name: str, value: object) -> None:
    assert getattr(Settings.read({variable: text}), name) == value


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_is_unset(variable: str, text: str) -> None:
    assert Settings.read({variable: text}) == Settings.read({}) == Settings()


def test_variables_of_other_programs_are_ignored() -> None:
    assert Settings.read({"PATH": "/bin", "nomadcrew_home": "/x", "PGHOST": "db"}) == Settings()


@pytest.mark.contract("jobs.settings.fix")
@pytest.mark.parametrize(
    ("variable", "text", "sentence"),
    [
        ("PORT", "http", "PORT must be a port"),
        ("PORT", "65536", "PORT must be a port"),
        ("PORT", "-1", "PORT must be a port"),
        ("PORT", "²", "PORT must be a port"),
        ("NOMADCREW_PUBLIC_URL", "trips.example.org", "must be an http"),
        ("NOMADCREW_PUBLIC_URL", "https://", "must be an http"),
        ("NOMADCREW_PUBLIC_URL", "https://[::1", "must be an http"),
        ("NOMADCREW_PUBLIC_URL", "https://trips.example.org:99999", "must be an http"),
        ("NOMADCREW_PUBLIC_URL", "https://trips example.org", "must be an http"),
        ("NOMADCREW_APP_URL", "https://app.example.org/?a=b", "must be an http"),
        ("NOMADCREW_REGISTRATION", "perhaps", "must be one of open, closed"),
        ("NOMADCREW_SMTP_URL", "mail.example.org", "must be the URL of a mail server"),
        ("NOMADCREW_SMTP_URL", "smtp://mail.example.org:x", "must be the URL of a mail server"),
        ("NOMADCREW_MAIL_FROM", "NomadCrew", "must be a sender"),
        ("NOMADCREW_MAIL_FROM", "<trips@example.org", "must be a sender"),
        ("NOMADCREW_MAIL_FROM", "a@example.org\r\nBcc: b@example.org", "must be a sender"),
        ("NOMADCREW_METRICS_TOKEN", "short", "at least 32 characters"),
        ("NOMADCREW_INVITATION_SECRETS", f"{SECRET},short", "at least 32 characters"),
        ("LOG_LEVEL", "loud", "must be one of debug, info"),
    ],
)
def test_an_invalid_value_is_refused_with_a_sentence(variable: str, text: str, sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence) as refused:
        Settings.read({variable: text})
    message = str(refused.value)
    assert message.startswith(variable)
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("NOMADCREW_RATE_LIMITS", "sign_in=many"),
        ("NOMADCREW_RATE_LIMITS", "sign_inn=2/60"),
        ("NOMADCREW_MAIL_FROM", "Jürgen <jürgen@example.org>"),
        ("NOMADCREW_SMTP_URL", "smtp://user@mail.example.org"),
        ("NOMADCREW_ALLOWED_ORIGINS", "example.org"),
        ("NOMADCREW_TRUSTED_PROXIES", "proxy.example.org"),
    ],
)
def test_values_that_an_adapter_refuses_are_refused_before_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(BadSetting, match=rf"^{variable} is not valid: .+\.$"):
        read_settings()


@pytest.mark.parametrize(
    ("variable", "text"),
    [("NOMADCREW_METRICS_TOKEN", "hunter2"), ("NOMADCREW_SMTP_URL", "smtp://user:hunter2@mail.example.org:port")],
)
def test_a_refusal_does_not_repeat_a_secret(variable: str, text: str) -> None:
    with pytest.raises(BadSetting) as refused:
        Settings.read({variable: text})
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("NOMADCREW_HOEM", "did you mean NOMADCREW_HOME?"),
        ("NOMADCREW_SMPT_URL", "did you mean NOMADCREW_SMTP_URL?"),
        ("NOMADCREW_PORT", "did you mean PORT?"),
        ("NOMADCREW_QQQ", "docs/operating.md lists the settings."),
    ],
)
def test_a_misspelled_setting_gets_a_suggestion(variable: str, hint: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(f"{variable} is not a setting; {hint}") + "$"):
        Settings.read({variable: "x"})


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("NOMADCREW_SUPABASE_ANON_KEY", "NOMADCREW_SUPABASE_URL"),
        ("NOMADCREW_SUPABASE_JWT_SECRET", "NOMADCREW_SUPABASE_URL"),
        ("NOMADCREW_SUPABASE_SERVICE_KEY", "NOMADCREW_SUPABASE_URL"),
        ("NOMADCREW_EXPO_TOKEN", "NOMADCREW_EXPO_URL"),
    ],
)
def test_a_setting_that_needs_an_unset_address_is_refused(variable: str, address: str) -> None:
    value = "a" * 64
    with pytest.raises(BadSetting, match=f"^{variable} has no effect without {address}: ") as refused:
        Settings.read({variable: value})
    assert value not in str(refused.value)
    Settings.read({variable: value, address: "https://there.example"})


def test_a_file_may_have_the_value(tmp_path: Path) -> None:
    file = tmp_path / "metrics-token"
    file.write_text(f"{SECRET}\n")
    environment = {"NOMADCREW_METRICS_TOKEN_FILE": f" {file} ", "NOMADCREW_SMTP_URL_FILE": ""}
    settings = Settings.read(environment)
    assert (settings.metrics_token, settings.smtp_url) == (SECRET, None)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"NOMADCREW_METRICS_TOKEN_FILE names a file that .*: No such file"):
        Settings.read({"NOMADCREW_METRICS_TOKEN_FILE": str(tmp_path / "none")})
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(BadSetting, match="it is no text"):
        Settings.read({"NOMADCREW_METRICS_TOKEN_FILE": str(tmp_path / "bytes")})


def test_a_value_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    both = {"NOMADCREW_METRICS_TOKEN": SECRET, "NOMADCREW_METRICS_TOKEN_FILE": str(tmp_path / "token")}
    with pytest.raises(BadSetting, match="are both set") as caught:
        Settings.read(both)
    assert SECRET not in str(caught.value)


def test_the_file_of_an_unknown_setting_is_refused() -> None:
    with pytest.raises(BadSetting, match="is not a setting"):
        Settings.read({"NOMADCREW_TOKEN_FILE": "/none"})


def test_the_operating_page_has_the_table_of_settings() -> None:
    found = re.search(r"<!-- settings: .* -->\n(.*)<!-- /settings -->", OPERATING.read_text(), re.DOTALL)
    assert found is not None
    assert found[1] == as_table(), "replace the table by the output of `nomadcrew.settings.as_table()`"


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: str(field.name))
def test_every_setting_has_a_sentence_in_the_table(field: Any) -> None:
    explanation = field.metadata["help"]
    assert len(explanation) > 10
    assert explanation.endswith(".")
    assert "|" not in explanation
    assert f"| `{field.metadata['variable']}` | " in as_table()


def test_both_hosts_use_the_same_prefix_of_aws_variables() -> None:
    assert AWS_PREFIX == config.AWS_PREFIX
