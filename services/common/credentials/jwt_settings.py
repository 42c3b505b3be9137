"""What the gateway can be told about JWTs."""

from dataclasses import dataclass

from services.common.settings import setting


@dataclass(frozen=True, slots=True)
class JwtSettings:
    """Tokens of one issuer; without a key set no token is taken."""

    jwks: str = setting("", "JWKS file or https:// address; JWTs that it has the keys of are taken then")
    issuer: str = setting("", "issuer that JWTs must name")
    audience: tuple[str, ...] = setting((), "audience that JWTs must name, one of these; repeatable")
    tenant_claim: str = setting("tenant", "claim that names the tenant; dots lead into objects")
    class_claim: str = setting("service_class", "claim that names the service class, where a JWT has it")
    clock_skew_ms: int = setting(60_000, "how far the issuer's clock may be off", least=0, most=600_000)

    def __post_init__(self) -> None:
        if self.jwks and not (self.issuer and self.audience):
            raise ValueError("--jwt-jwks needs --jwt-issuer and --jwt-audience: whose tokens, and for whom")
