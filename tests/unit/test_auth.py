"""Only a good access token proves a caller; every way to forge one that is known is refused."""

import base64
import functools
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from deploy.local import identity
from kobklein import auth, contract, errors, keys
from kobklein.payments.v1 import payments_pb2 as pb
from kobklein.settings import AuthSettings
from tests import waiting

METHODS = contract.methods(["kobklein.payments.v1.PaymentsService"])
CREATE = METHODS["/kobklein.payments.v1.PaymentsService/CreatePayment"]
GET = METHODS["/kobklein.payments.v1.PaymentsService/GetPayment"]
WEBHOOK = METHODS["/kobklein.payments.v1.PaymentsService/ReceiveWebhook"]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> identity.Identity:
    return identity.load(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="module")
def verifier(local: identity.Identity) -> auth.Verifier:
    return auth.Verifier(local.settings)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": "kobklein", "aud": "kobklein-api", "sub": "user-1", "roles": ["user"], "iat": now, "exp": now + 60}
    return {key: value for key, value in (good | changes).items() if value is not ...}


def encode(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


class Forge:
    """Makes tokens, good ones and every kind of bad one."""

    def __init__(self, local: identity.Identity) -> None:
        self.key: Any = jwt.PyJWK.from_json(local.private_key_file.read_text()).key
        self.public_jwk = json.loads(local.public_keys_file.read_text())["keys"][0]
        public = self.key.public_key()
        self.public_pem = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public_raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def token(self, *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        headers = {"typ": "at+jwt", "kid": "local"} | (header or {})
        body = json.dumps(claims(**changes)).encode()  # Claims that no honest library would encode, too.
        return jwt.api_jws.encode(body, self.key, algorithm="EdDSA", headers=headers)

    def raw(self, header: dict[str, Any], body: object, signature: str = "") -> str:
        return f"{encode({'typ': 'at+jwt', 'kid': 'local'} | header)}.{encode(body)}.{signature}"

    def hmac(self, secret: bytes, algorithm: str = "HS256") -> str:
        signed = f"{encode({'typ': 'at+jwt', 'kid': 'local', 'alg': algorithm})}.{encode(claims())}"
        digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"

    def stranger(self, algorithm: str, **header: Any) -> str:
        key: Any = {
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
        }[algorithm]()
        return jwt.encode(claims(), key, algorithm=algorithm, headers={"typ": "at+jwt", "kid": "local"} | header)

    def bad(self) -> Iterator[tuple[str, str]]:
        """Yield every token that must be refused, with its name."""
        yield from self._bad_keys()
        yield from self._bad_headers()
        yield from self._bad_claims()
        yield from self._bad_shapes()

    def _bad_keys(self) -> Iterator[tuple[str, str]]:
        for alg in ("none", "None", "NONE", "nOnE", "", "HS256", "HS512", "ES256", "RS256", "PS256"):
            yield f"unsigned, alg {alg!r}", self.raw({"alg": alg}, claims())
        yield "unsigned, without alg", self.raw({}, claims())
        for name, secret in (
            ("PEM", self.public_pem),
            ("raw", self.public_raw),
            ("JWK x", self.public_jwk["x"].encode()),
            ("JWK", json.dumps(self.public_jwk).encode()),
            ("empty", b""),
        ):
            yield f"HS256 signed with the public key as {name}", self.hmac(secret)
        yield "HS256 under the name EdDSA", self.hmac(self.public_pem, "EdDSA")
        for algorithm in ("EdDSA", "ES256", "RS256"):
            yield f"another {algorithm} key under our key id", self.stranger(algorithm)

    def _bad_headers(self) -> Iterator[tuple[str, str]]:
        stranger = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate().public_key()))
        yield "own jwk in the header", self.stranger("EdDSA", jwk=stranger)
        yield "jku in the header", self.stranger("EdDSA", jku="http://127.0.0.1:1/keys")
        yield "x5u in the header", self.stranger("EdDSA", x5u="http://127.0.0.1:1/cert")
        yield "x5c in the header", self.stranger("EdDSA", x5c=["AAAA"])
        for kid in ("../../../dev/null", "/dev/null", "' OR 1=1 --", "unknown", "", "local\x00", "LOCAL"):
            yield f"kid {kid!r}", self.token(header={"kid": kid})
        yield "crit", self.token(header={"crit": ["exp"]})
        yield "crit, unknown", self.token(header={"crit": ["x"], "x": 1})
        for typ in ("JWT", "id+jwt", "rt+jwt", "", "at+jwt2"):
            yield f"typ {typ!r}", self.token(header={"typ": typ})

    def _bad_claims(self) -> Iterator[tuple[str, str]]:
        now = int(time.time())
        for issuer in ("kobklein.example", "kob", "KOBKLEIN", "kobklein ", "", ..., ["kobklein"]):
            yield f"issuer {issuer!r}", self.token(iss=issuer)
        for audience in (
            "kobklein",
            "kobklein-api-2",
            "",
            ...,
            ["other"],
            [],
            {},
            1,
            ["kobklein-api", 1],
            [["kobklein-api"]],
        ):
            yield f"audience {audience!r}", self.token(aud=audience)
        for subject in ("", ..., "a" * 256, "a\nb", "a\x00b", "a/b", "a b", "é", "a\x7f", 1, ["a"], None):
            yield f"subject {subject!r}", self.token(sub=subject)
        for name, change in (
            ("expired", {"iat": now - 100, "exp": now - 60}),
            ("never expires", {"exp": ...}),
            ("issued in the future", {"iat": now + 600, "exp": now + 700}),
            ("without issue time", {"iat": ...}),
            ("not valid yet", {"nbf": now + 600}),
            ("lives too long", {"exp": now + 90_000}),
            ("expiry as text", {"exp": "tomorrow"}),
            ("expiry as digits", {"exp": str(now + 60)}),
            ("issue time as digits", {"iat": str(now)}),
            ("not before as digits", {"nbf": str(now)}),
            ("expiry as a truth", {"iat": 0, "exp": True}),
            ("expiry that is no number", {"exp": float("nan")}),
            ("expiry without end", {"exp": float("inf")}),
            ("not before of nothing", {"nbf": None}),
            ("infinite expiry", {"exp": 10**400}),
            ("roles as text", {"roles": "admin"}),
            ("roles as numbers", {"roles": [1]}),
            ("roles as an object", {"roles": {"admin": True}}),
        ):
            yield name, self.token(**change)

    def _bad_shapes(self) -> Iterator[tuple[str, str]]:
        good = self.token()
        head, body, signature = good.split(".")
        yield "other claims under a good signature", f"{head}.{encode(claims(roles=['admin']))}.{signature}"
        yield "without signature", f"{head}.{body}."
        yield "two parts", f"{head}.{body}"
        yield "four parts", f"{good}.x"
        yield "signature cut", good[:-4]
        yield "signature of another token", f"{head}.{body}.{self.token(sub='user-2').split('.')[2]}"
        yield from (("empty", ""), ("space", " "), ("dots", ".."), ("text", "hello"), ("JSON", encode({})))
        yield "huge", self.token(padding="x" * 1_000_000)
        yield "claims are a list", self.raw({"alg": "EdDSA"}, [1], "AAAA")
        yield "deeply nested header", base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.x"


def test_a_good_token_proves_its_caller(verifier: auth.Verifier, local: identity.Identity) -> None:
    caller = verifier.verify(local.token("user-1", "user", "unknown-role"))
    assert (caller.subject, caller.roles) == ("user-1", {"user"})


def test_every_bad_token_is_refused(verifier: auth.Verifier, local: identity.Identity) -> None:
    vectors = dict(Forge(local).bad())
    accepted = []
    for name, token in vectors.items():
        try:
            verifier.verify(token)
            accepted.append(name)
        except errors.Unauthenticated:
            pass
    assert accepted == []
    assert len(vectors) >= 80


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"header": {"typ": "JWT"}}, "is no access token: the typ in its header must be at+jwt"),
        ({"header": {"crit": ["exp"]}}, "is malformed: it is no JWT, or has a crit in its header"),
        ({"header": {"kid": "other"}}, "is signed with an unknown key"),
        ({"iss": "https://other.test/"}, "has another issuer: its iss must be kobklein"),
        ({"aud": "other"}, "is for another audience: its aud must be or contain kobklein-api"),
        ({"aud": ...}, "has no usable aud"),
        ({"sub": "a b"}, "has no usable sub"),
        ({"roles": {"realm": []}}, "has no usable roles: they must be a list of texts"),
        ({"exp": "1"}, "has no usable exp: it must be a number of seconds"),
        ({"iat": 1_700_000_000, "exp": 1_700_000_060}, "expired at 2023-11-14T22:14:20Z"),
        ({"nbf": 4_000_000_000}, "is not valid before 2096-10-02T07:06:40Z"),
        ({"exp": 4_000_000_000}, "lives longer than 86400 s"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_the_token(
    verifier: auth.Verifier, local: identity.Identity, changes: dict[str, Any], why: str
) -> None:
    token = Forge(local).token(**changes)
    with pytest.raises(errors.Unauthenticated) as caught:
        verifier.verify(token)
    assert str(caught.value).startswith(f"the token {why}")
    assert caught.value.metadata == {"error": "invalid_token"}


def test_an_extension_that_the_library_would_take_is_refused(verifier: auth.Verifier, local: identity.Identity) -> None:
    token = Forge(local).raw({"alg": "EdDSA", "crit": ["b64"], "b64": False}, claims(), "AAAA")
    with pytest.raises(errors.Unauthenticated, match="has a crit in its header"):
        verifier.verify(token)


def test_no_refusal_repeats_a_part_of_the_token(verifier: auth.Verifier, local: identity.Identity) -> None:
    planted = "hunter2planted"
    forge = Forge(local)
    claims_of_it = [{name: planted} for name in ("iss", "aud", "exp", "iat", "nbf", "roles")]
    tokens = [forge.token(**changes) for changes in [*claims_of_it, {"sub": f"{planted}/"}]]
    tokens += [forge.token(header={name: planted}) for name in ("typ", "kid", "crit")]
    tokens += [f"{forge.token()}{planted}", planted, f"{planted}.{planted}.{planted}"]
    for token in tokens:
        with pytest.raises(errors.Unauthenticated) as caught:
            verifier.verify(token)
        assert planted not in str(caught.value)


@pytest.mark.parametrize(
    ("authorization", "why"),
    [
        ("", "there is no Authorization header"),
        ("eyJ.eyJ.x", "must be the word Bearer and the token"),
        ("Basic dTpw", "must be the word Bearer and the token"),
        ("Bearer", "must be the word Bearer and the token"),
    ],
)
def test_without_a_token_the_refusal_says_what_to_send(authorization: str, why: str) -> None:
    with pytest.raises(errors.Unauthenticated) as caught:
        auth.bearer(authorization)
    assert why in str(caught.value)
    assert caught.value.metadata == {}


@pytest.mark.parametrize(
    "audience", ["kobklein-api", ["kobklein-api"], ["https://tenant.test/userinfo", "kobklein-api"]]
)
def test_an_audience_is_ours_or_a_list_with_ours(
    verifier: auth.Verifier, local: identity.Identity, audience: Any
) -> None:
    assert verifier.verify(Forge(local).token(aud=audience)).subject == "user-1"


@pytest.mark.parametrize("subject", ["auth0|5f7c8ec7c33c6c004bbafe82", "jean@example.ht", "a" * 255, "!\"'<&>=,;:%+|~"])
def test_subjects_are_what_identity_providers_write(
    verifier: auth.Verifier, local: identity.Identity, subject: str
) -> None:
    assert verifier.verify(Forge(local).token(sub=subject)).subject == subject


def test_a_remembered_token_still_expires(local: identity.Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = auth.Verifier(local.settings)
    token = local.token("user-1", "user", lifetime_seconds=60)
    verifier.verify(token)
    later = time.time() + 60 + local.settings.leeway_seconds
    monkeypatch.setattr(auth.time, "time", lambda: later)
    with pytest.raises(errors.Unauthenticated):
        verifier.verify(token)


def test_a_revoked_subject_is_refused_although_the_token_is_good(
    local: identity.Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revocations = tmp_path / "revocations.json"
    verifier = auth.Verifier(local.settings.model_copy(update={"revocations_file": revocations}))
    token = local.token("user-1", "user")
    verifier.verify(token)
    revocations.write_text(json.dumps({"subjects": ["user-1"]}))
    later = time.monotonic() + 60
    monkeypatch.setattr(auth.time, "monotonic", lambda: later)
    with pytest.raises(errors.Unauthenticated):
        verifier.verify(token)
    assert verifier.verify(local.token("user-2", "user")).subject == "user-2"


def test_a_revoked_token_is_refused_and_its_subject_is_not(local: identity.Identity, tmp_path: Path) -> None:
    revocations = tmp_path / "revocations.json"
    revocations.write_text(json.dumps({"token_ids": ["lost"]}))
    verifier = auth.Verifier(local.settings.model_copy(update={"revocations_file": revocations}))
    forge = Forge(local)
    with pytest.raises(errors.Unauthenticated):
        verifier.verify(forge.token(jti="lost"))
    assert verifier.verify(forge.token(jti="kept")).subject == "user-1"


def test_a_shared_secret_counts_only_where_it_is_configured(local: identity.Identity) -> None:
    secret = "s" * 32
    token = jwt.encode(claims(), secret, algorithm="HS256", headers={"typ": "at+jwt"})
    configured = auth.Verifier(AuthSettings.model_validate({"hs256_secret": secret}))
    assert configured.verify(token).subject == "user-1"
    with pytest.raises(errors.Unauthenticated):
        configured.verify(local.token("user-1", "user"))


def test_a_short_shared_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 characters"):
        AuthSettings.model_validate({"hs256_secret": "short"})


@pytest.mark.parametrize("sources", [{}, {"hs256_secret": "s" * 32, "jwks_url": "http://127.0.0.1:1"}])
def test_exactly_one_source_of_keys_is_needed(sources: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        AuthSettings.model_validate(sources)


def caller(subject: str, *roles: str) -> auth.Caller:
    return auth.Caller(subject, frozenset(roles))


def test_an_anonymous_caller_reaches_only_anonymous_methods() -> None:
    assert auth.authorize(WEBHOOK, None, pb.ReceiveWebhookRequest())
    with pytest.raises(errors.Unauthenticated):
        auth.authorize(CREATE, None, pb.CreatePaymentRequest())


def test_a_user_is_the_subject_of_its_own_request() -> None:
    request = pb.CreatePaymentRequest()
    assert not auth.authorize(CREATE, caller("user-1", "user"), request)
    assert request.user_id == "user-1"


def test_a_user_may_not_name_another_subject() -> None:
    with pytest.raises(
        errors.PermissionDenied, match=r"^user_id names another user: needs admin; this token has user$"
    ):
        auth.authorize(CREATE, caller("user-1", "user"), pb.CreatePaymentRequest(user_id="user-2"))


def test_an_admin_may_name_every_subject() -> None:
    request = pb.CreatePaymentRequest(user_id="user-2")
    assert auth.authorize(CREATE, caller("admin-1", "admin"), request)
    assert request.user_id == "user-2"


@pytest.mark.parametrize("roles", [(), ("support",), ("finance", "support")])
def test_a_role_that_the_contract_does_not_name_is_refused(roles: tuple[str, ...]) -> None:
    has = " and ".join(roles) or "no role"
    with pytest.raises(errors.PermissionDenied, match=rf"^this needs admin, .* or user; this token has {has}$"):
        auth.authorize(CREATE, caller("x", *roles), pb.CreatePaymentRequest())


def test_without_a_subject_in_the_request_the_method_itself_restricts() -> None:
    assert not auth.authorize(GET, caller("user-1", "user"), pb.GetPaymentRequest())
    assert auth.authorize(GET, caller("s", "support"), pb.GetPaymentRequest())


def test_a_service_signs_its_own_tokens(local: identity.Identity, verifier: auth.Verifier) -> None:
    signer = auth.Signer(local.settings, private_jwk_file=local.private_key_file, subject="payments-service")
    assert signer.token() == signer.token()
    assert verifier.verify(signer.token()) == caller_of(signer.token())


def caller_of(token: str) -> auth.Caller:
    return auth.Caller("payments-service", frozenset({"service"}), token)


class Published:
    """A key set at a URL, as an identity provider serves it."""

    def __init__(self) -> None:
        self.document: object = {"keys": []}
        self.fetched = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.fetched += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(outer.document).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fetched_since(self, before: int) -> bool:
        return self.fetched > before

    @property
    def settings(self) -> AuthSettings:
        return AuthSettings(jwks_url=f"http://127.0.0.1:{self.server.server_port}/")


@pytest.fixture
def published() -> Iterator[Published]:
    made = Published()
    yield made
    made.server.shutdown()
    made.server.server_close()


def pair(key_id: str) -> tuple[jwt.PyJWK, dict[str, Any]]:
    """Return a new private key and the public JWK of it."""
    private, names = ed25519.Ed25519PrivateKey.generate(), {"kid": key_id, "alg": "EdDSA"}
    as_jwk = jwt.algorithms.OKPAlgorithm.to_jwk
    return jwt.PyJWK(as_jwk(private, as_dict=True) | names), as_jwk(private.public_key(), as_dict=True) | names


async def test_a_key_that_is_replaced_under_its_id_is_taken_and_one_that_is_gone_is_trusted_no_more(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys._KeyUrl, "_SOONEST_SECONDS", 0.01)

    def passes(key: jwt.PyJWK) -> bool:
        token = auth.sign(key, published.settings, subject="u", roles=["user"], lifetime_seconds=900)
        try:
            return bool(verifier.verify(token))
        except errors.Unauthenticated:
            return False

    (old, old_public), (new, new_public), (other, other_public) = pair("one"), pair("one"), pair("two")
    published.document = {"keys": [old_public, {"kty": "unknown"}, {"kty": "oct", "k": "AAAA", "alg": "HS256"}]}
    verifier = auth.Verifier(published.settings)
    remembered = auth.sign(old, published.settings, subject="u", roles=["user"], lifetime_seconds=900)
    assert verifier.verify(remembered)
    published.document = {"keys": [new_public]}
    await waiting.until("the new key", lambda: passes(new))  # The first such token has the keys fetched.
    assert not passes(old)
    with pytest.raises(errors.Unauthenticated):
        verifier.verify(remembered)
    published.document = {"keys": [other_public]}
    await waiting.until("another key", lambda: passes(other))
    assert not passes(new)
    for document in ([], {"keys": "none"}, "text"):  # No key set: the last one that was fetched stays.
        published.document, before = document, published.fetched
        assert not passes(new)
        await waiting.until("a fetch", functools.partial(published.fetched_since, before))
    assert passes(other)
    published.document = {"keys": []}
    await waiting.until("no key", lambda: not (passes(new) or passes(other)))
