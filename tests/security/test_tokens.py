"""Tokens: what is verified, by which key, and who calls then."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from patinox.config import Config
from patinox.config.auth import SECRET_VARIABLE, JwtConfig
from patinox.errors import ConfigError, Unauthenticated
from patinox.server.auth.jwks import Jwks, KeysUnavailable
from patinox.server.auth.tokens import Tokens
from patinox.testing.fakes import ManualClock
from patinox.transports.access import USER, Caller, Right

SECRET = "x" * 32
ENV = {SECRET_VARIABLE: SECRET}
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
HMAC = JwtConfig(algorithms=("HS256",))
BY_NAME = {
    "RS256": RSA,
    "PS384": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def public_key(path: str) -> bytes:
    return Path(path).read_bytes()


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ada", "exp": int(time.time()) + 600, **more}


def signed(*, key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers=headers)


def pem(path: Path, private: Any) -> str:
    text = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (path / "key.pem").write_bytes(text)
    return str(path / "key.pem")


async def test_a_signed_token_says_who_calls() -> None:
    caller = await Tokens(HMAC, ENV).caller(signed(tenant="acme", streams=["a", "b*"], channels=["c"], exp=2**33))
    assert caller == Caller("acme", "ada", USER, ("a", "b*"), ("c",), 2**33 + 30.0)


@pytest.mark.parametrize("algorithm", BY_NAME)
async def test_a_public_key_verifies(algorithm: str, tmp_path: Path) -> None:
    private = BY_NAME[algorithm]
    config = JwtConfig(algorithms=(algorithm,), public_key_file=pem(tmp_path, private))
    assert (await Tokens(config, {}).caller(signed(key=private, algorithm=algorithm))).subject == "ada"


@pytest.mark.parametrize(
    ("scope", "rights"),
    [
        ("read patinox:write openid", {Right.READ, Right.WRITE}),
        (["read", "admin", 7], {Right.READ, Right.ADMIN}),
        ("", set()),
        (17, set()),
    ],
)
async def test_rights_are_words_of_a_claim(scope: Any, rights: set[Right]) -> None:
    assert (await Tokens(HMAC, ENV).caller(signed(scope=scope))).rights == rights


async def refused(token: str, config: JwtConfig = HMAC) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await Tokens(config, ENV).caller(token)
    return caught.value.message


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: signed(key="y" * 32), "Signature"),
        (lambda: signed(exp=int(time.time()) - 60), "expired"),
        (lambda: signed(nbf=int(time.time()) + 600), "not yet valid"),
        (lambda: jwt.encode({"sub": "ada"}, SECRET), "exp"),
        (lambda: jwt.encode({"exp": 2**33}, SECRET), "sub"),
        (lambda: signed(sub=""), "strings"),
        (lambda: signed(tenant=7), "strings"),
        (lambda: signed(aud="another service"), "udience"),
        (lambda: jwt.encode(claims(), "", algorithm="none"), "not valid"),
        (lambda: signed(algorithm="HS512", key="z" * 64), "not allowed"),
        (lambda: "not.a.token", "not valid"),
        (lambda: "", "not valid"),
    ],
)  # fmt: skip
async def test_what_is_not_valid_is_refused(make: Callable[[], str], said: str) -> None:
    assert said in await refused(make())


async def test_an_issuers_clock_may_be_a_little_apart() -> None:
    assert (await Tokens(HMAC, ENV).caller(signed(exp=int(time.time()) - 5))).subject == "ada"


async def test_audience_and_issuer_are_checked_where_configured() -> None:
    config = JwtConfig(algorithms=("HS256",), audience="patinox", issuer="https://id.example")
    assert (await Tokens(config, ENV).caller(signed(aud="patinox", iss="https://id.example"))).subject == "ada"
    assert "udience" in await refused(signed(aud="other", iss="https://id.example"), config)
    assert "ssuer" in await refused(signed(aud="patinox", iss="https://evil.example"), config)


async def test_key_confusion_a_public_key_never_verifies_an_hmac(tmp_path: Path) -> None:
    path = pem(tmp_path, RSA)
    config = JwtConfig(algorithms=("RS256",), public_key_file=path)
    header, body = ({"alg": "HS256", "typ": "JWT"}, claims(scope="admin"))
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, body)]
    mac = jwt.get_algorithm_by_name("HS256").sign(b".".join(parts), public_key(path))
    forged = b".".join([*parts, jwt.utils.base64url_encode(mac)]).decode()
    assert "not allowed" in await refused(forged, config)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('algorithms = ["HS256"]\njwks_url = "https://h/k"', "goes with the secret alone"),
        ('algorithms = ["HS256", "RS256"]\npublic_key_file = "k"', "goes with the secret alone"),
        ('algorithms = ["RS256"]', "needs one of"),
        ('algorithms = ["none"]', "is none of"),
        ('jwks_url = "https://h/k"', "which algorithms"),
        ('secret = "hush"', "secrets stand in no file"),
    ],
)
def test_settings_that_would_confuse_keys_are_refused(settings: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config.from_toml(f"[auth.jwt]\n{settings}")


@pytest.mark.parametrize("secret", ["", "short"])
def test_a_secret_that_could_be_guessed_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        Tokens(HMAC, {SECRET_VARIABLE: secret})


def test_a_key_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("no key")
    for path in ("nowhere", str(tmp_path / "k")):
        with pytest.raises(ConfigError, match="cannot be used"):
            Tokens(JwtConfig(algorithms=("RS256",), public_key_file=path), {})


class Issuer:
    """Publishes keys."""

    def __init__(self, *kids: str) -> None:
        self.kids = list(kids)
        self.asked = 0
        self.answers = True

    async def fetch(self, url: str) -> bytes:
        self.asked += 1
        if not self.answers:
            raise OSError("it is away")
        public = jwt.get_algorithm_by_name("RS256").to_jwk(RSA.public_key(), as_dict=True)
        return json.dumps(
            {"keys": [{**public, "kid": kid, "alg": "RS256", "use": "sig"} for kid in self.kids]}
        ).encode()


def jwks(issuer: Issuer, clock: ManualClock) -> Jwks:
    return Jwks("https://id.example/keys", fetch=issuer.fetch, clock=clock)


class TestPublishedKeys:
    async def test_they_are_fetched_once_for_many_tokens(self) -> None:
        issuer = Issuer("a")
        keys = jwks(issuer, ManualClock())
        for _ in range(3):
            assert (await keys.key({"kid": "a"})).key_id == "a"
        assert issuer.asked == 1

    async def test_a_rotated_key_is_found(self) -> None:
        issuer, clock = Issuer("a"), ManualClock()
        keys = jwks(issuer, clock)
        await keys.key({"kid": "a"})
        issuer.kids = ["b"]
        clock.now_s += 11
        assert (await keys.key({"kid": "b"})).key_id == "b"
        with pytest.raises(Unauthenticated):
            await keys.key({"kid": "a"})

    async def test_made_up_names_do_not_make_us_ask_at_each(self) -> None:
        issuer = Issuer("a")
        keys = jwks(issuer, ManualClock())
        for number in range(50):
            with pytest.raises(Unauthenticated, match="no such key"):
                await keys.key({"kid": f"made-up-{number}"})
        assert issuer.asked == 1

    async def test_known_keys_stay_good_while_the_issuer_is_away(self) -> None:
        issuer, clock = Issuer("a"), ManualClock()
        keys = jwks(issuer, clock)
        await keys.key({"kid": "a"})
        issuer.answers = False
        clock.now_s += 10_000
        assert (await keys.key({"kid": "a"})).key_id == "a"

    async def test_without_any_keys_nobody_is_blamed(self) -> None:
        issuer = Issuer("a")
        issuer.answers = False
        with pytest.raises(KeysUnavailable):
            await jwks(issuer, ManualClock()).key({"kid": "a"})

    async def test_a_token_without_a_name_fits_an_only_key(self) -> None:
        assert (await jwks(Issuer("a"), ManualClock()).key({})).key_id == "a"
        with pytest.raises(Unauthenticated):
            await jwks(Issuer("a", "b"), ManualClock()).key({})

    async def test_a_name_that_is_no_string_is_refused(self) -> None:
        with pytest.raises(Unauthenticated, match="string"):
            await jwks(Issuer("a"), ManualClock()).key({"kid": ["a"]})
