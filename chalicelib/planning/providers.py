"""The model that an installation's settings name, if any."""

from chalicelib.aws.sealing import Sealer
from chalicelib.domain.errors import ModelFailed, Unavailable
from chalicelib.planning.asking import Answer, Model, Provider, Question
from chalicelib.settings import Settings
from chalicelib.wiring import adapters

PROVIDERS = ("bedrock", "openai")
KEY_OWNER = "settings"  # whose the sealed key is, as KMS is told


def configured() -> Model | None:
    """None where the settings name none. One that they name wrongly says so in every plan, and stops no deploy."""
    settings = adapters().settings
    if not settings.ai_provider:
        return None
    try:
        return model_of(settings, adapters().sealer)
    except (ModelFailed, Unavailable) as error:
        return Model(_Misnamed(error.message), settings.ai_max_rounds, settings.ai_max_tokens)


def model_of(settings: Settings, sealer: Sealer) -> Model:
    """Raise `ModelFailed` where the settings name a model that cannot be."""
    return Model(_provider(settings, _key(settings, sealer)), settings.ai_max_rounds, settings.ai_max_tokens)


class _Misnamed:
    """In the place of a provider, for want of one."""

    def __init__(self, why: str) -> None:
        self._why = why

    def ask(self, question: Question) -> Answer:  # noqa: ARG002 as every provider is asked
        raise ModelFailed(self._why)


def _provider(settings: Settings, key: str) -> Provider:
    if settings.ai_provider not in PROVIDERS:
        raise ModelFailed(f"SLIPWAY_AI_PROVIDER must be one of {', '.join(PROVIDERS)}, not {settings.ai_provider!r}")
    if not settings.ai_model:
        raise ModelFailed("SLIPWAY_AI_MODEL must name a model")
    if settings.ai_provider == "openai":
        from chalicelib.planning.openai import OpenAI  # noqa: PLC0415 one of the two is enough

        return OpenAI(settings.ai_base_url, settings.ai_model, key, settings.ai_timeout_seconds)
    from chalicelib.planning import bedrock  # noqa: PLC0415

    client = bedrock.client(settings.ai_base_url, key, settings.ai_timeout_seconds)
    return bedrock.Bedrock(client, settings.ai_model)


def _key(settings: Settings, sealer: Sealer) -> str:
    if not settings.ai_key_sealed:
        return settings.ai_key
    try:
        sealed = bytes.fromhex(settings.ai_key_sealed)
    except ValueError:
        raise ModelFailed("SLIPWAY_AI_KEY_SEALED is not what infra.seal_key prints") from None
    return sealer.unseal(sealed, KEY_OWNER).decode()
