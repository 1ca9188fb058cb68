"""What every process reads from its environment, and how."""

import pydantic
import pydantic_settings
import pytest

from kobklein.settings import ListOf

SECRET = "whsec_planted"


class Nested(pydantic.BaseModel):
    secrets: ListOf[pydantic.SecretStr] = pydantic.Field(min_length=1, max_length=2)


class Lists(pydantic_settings.BaseSettings):
    model_config = pydantic_settings.SettingsConfigDict(env_prefix="TEST_", env_nested_delimiter="__")

    origins: ListOf[str] = ()
    seconds: ListOf[pydantic.PositiveFloat] = (1.0,)
    nested: Nested


@pytest.mark.parametrize(
    ("written", "origins"),
    [
        ("https://a.test", ("https://a.test",)),
        ("https://a.test,https://b.test", ("https://a.test", "https://b.test")),
        (" https://a.test , https://b.test ", ("https://a.test", "https://b.test")),
        ('["https://a.test", "https://b.test"]', ("https://a.test", "https://b.test")),
        (' ["a,b"]', ("a,b",)),
        ("[]", ()),
    ],
)
def test_a_list_is_written_with_commas_or_as_json(
    monkeypatch: pytest.MonkeyPatch, written: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TEST_ORIGINS", written)
    monkeypatch.setenv("TEST_SECONDS", "0.5,60")
    monkeypatch.setenv("TEST_NESTED__SECRETS", "one,two")
    read = Lists()  # type: ignore[call-arg]  # from the environment
    assert (read.origins, read.seconds) == (origins, (0.5, 60.0))
    assert [each.get_secret_value() for each in read.nested.secrets] == ["one", "two"]


@pytest.mark.parametrize(
    "written", ["a,,b", "a,", ",", " ", "[", "[a]", '["a"', '[""]', "[[]]", "[" * 100_000, "a,b,c"]
)
def test_a_list_that_cannot_be_read_names_its_field_and_no_value(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("TEST_NESTED__SECRETS", written.replace("a", SECRET))
    with pytest.raises(pydantic.ValidationError) as caught:
        Lists()  # type: ignore[call-arg]  # from the environment
    for error in caught.value.errors(include_input=False):
        assert error["loc"][:2] == ("nested", "secrets")
        assert SECRET not in error["msg"]
