"""Challenges and digests: published vectors, our own arithmetic, and hostile text (RFC 7616, RFC 8760)."""

import hashlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipua.auth.digest import ALGORITHMS, MAX_CHALLENGE_LENGTH, Challenge, make_credentials, parse_auth
from sipua.errors import ParseError

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def challenge(text: str) -> Challenge:
    parsed = Challenge.parse(text)
    assert parsed is not None
    return parsed


def answer(
    asked: Challenge,
    *,
    user: str = "bob",
    password: str = "zanzibar",
    method: str = "INVITE",
    uri: str = "sip:bob@biloxi.com",
    body: bytes = b"",
    nc: int = 1,
    cnonce: str = "0a4f113b",
) -> dict[str, str]:
    scheme, params = parse_auth(make_credentials(asked, user, password, method, uri, body, nc, cnonce))
    assert scheme == "Digest"
    return params


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616_section_3_9_1_comes_out(algorithm: str, response: str) -> None:
    asked = challenge(
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="{NONCE}", opaque="{OPAQUE}"'
    )
    got = answer(asked, user="Mufasa", password="Circle of Life", method="GET", uri="/dir/index.html", cnonce=CNONCE)
    assert got["response"] == response
    assert got == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "nonce": NONCE,
        "uri": "/dir/index.html",
        "response": response,
        "algorithm": algorithm,
        "qop": "auth",
        "nc": "00000001",
        "cnonce": CNONCE,
        "opaque": OPAQUE,
    }


def test_the_example_of_rfc_7616_section_3_9_2_comes_out_as_erratum_4897_corrects_it() -> None:
    nonce = "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK"
    asked = challenge(f'Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="{nonce}", charset=UTF-8, userhash=true')
    cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
    got = answer(asked, user="Jäsøn Doe", password="Secret, or not?", method="GET", uri="/doe.json", cnonce=cnonce)
    assert got["response"] == "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"
    assert got["username"] == "Jäsøn Doe"


def test_sha_512_256_is_that_of_fips_180_4_and_no_cut_sha_512() -> None:
    assert ALGORITHMS["SHA-512-256"](b"abc") == "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
    assert ALGORITHMS["SHA-512-256"](b"abc") != hashlib.sha512(b"abc").hexdigest()[:64]


def test_the_example_of_rfc_2617_comes_out() -> None:
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    asked = challenge(f'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="{nonce}"')
    got = answer(asked, user="Mufasa", password="Circle Of Life", method="GET", uri="/dir/index.html")
    assert got["response"] == "6629fae49393a05397450978507c4ef1"


def test_a_challenge_without_qop_is_answered_the_old_way_and_without_cnonce() -> None:
    asked = challenge('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    got = answer(asked, user="Mufasa", password="CircleOfLife", method="GET", uri="/dir/index.html")
    assert got["response"] == "1949323746fe6a43ef61f9606e7febea"  # RFC 2069 §2.4 as corrected by erratum 749
    assert not {"qop", "nc", "cnonce", "opaque"} & set(got)


def md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode()).hexdigest()


@pytest.mark.parametrize("body", [b"", b"v=0\r\n"])
def test_auth_int_covers_the_body_and_is_chosen_only_without_auth(body: bytes) -> None:
    asked = challenge('Digest realm="r", nonce="n", qop="auth-int"')
    a2 = md5("INVITE", "sip:bob@biloxi.com", hashlib.md5(body).hexdigest())
    assert answer(asked, body=body)["response"] == md5(md5("bob", "r", "zanzibar"), "n", "00000001", "0a4f113b", "auth-int", a2)
    assert answer(asked, body=body)["qop"] == "auth-int"
    assert answer(challenge('Digest realm="r", nonce="n", qop="auth-int, auth"'), body=body)["qop"] == "auth"


@pytest.mark.parametrize("qop", ["", ', qop="auth"'])
def test_a_session_algorithm_hashes_both_nonces_into_the_secret(qop: str) -> None:
    asked = challenge(f'Digest realm="r", nonce="n", algorithm=MD5-sess{qop}')
    a1 = md5(md5("bob", "r", "zanzibar"), "n", "0a4f113b")
    middle = ["n", "00000002", "0a4f113b", "auth"] if qop else ["n"]
    got = answer(asked, nc=2)
    assert got["response"] == md5(a1, *middle, md5("INVITE", "sip:bob@biloxi.com"))
    assert got["algorithm"] == "MD5-sess"
    assert got["cnonce"] == "0a4f113b"


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("suffix", ["", "-sess", "-SESS"])
def test_every_algorithm_is_spoken_whatever_the_case(algorithm: str, suffix: str) -> None:
    asked = challenge(f'Digest realm="r", nonce="n", algorithm={algorithm.lower()}{suffix}')
    assert (asked.algorithm, asked.is_session) == (algorithm, bool(suffix))
    assert len(answer(asked)["response"]) == (32 if algorithm == "MD5" else 64)


def test_quotes_stand_where_the_grammar_has_them_and_nowhere_else() -> None:
    asked = challenge('Digest realm="a \\"b\\" \\\\c", nonce="n", qop="auth", opaque=""')
    text = make_credentials(asked, 'o"hara', "x", "BYE", "sip:a@b", b"", 17, "c")
    assert re.fullmatch(
        r'Digest username="o\\"hara", realm="a \\"b\\" \\\\c", nonce="n", uri="sip:a@b", response="[0-9a-f]{32}", '
        r'algorithm=MD5, qop=auth, nc=00000011, cnonce="c", opaque=""',
        text,
    )


def test_a_challenge_is_read_whatever_its_order_case_and_white_space() -> None:
    asked = challenge('  dIGEST  NONCE = "n,1" ,REALM="a, b"\t, Stale=TRUE, unknown=1, Qop="AUTH" , algorithm="MD5",')
    assert asked == Challenge("a, b", "n,1", "MD5", None, ("auth",), is_stale=True)


@pytest.mark.parametrize(
    "text",
    [
        'Basic realm="r"',
        'Digest realm="r", nonce="n", algorithm=SHA-1',
        'Digest realm="r", nonce="n", algorithm=AKAv1-MD5',
        'Digest realm="r", nonce="n", qop="token"',
        'NTLM realm="r", targetname="x"',
    ],
)
def test_what_we_do_not_speak_is_passed_over(text: str) -> None:
    assert Challenge.parse(text) is None


def test_a_qop_that_we_speak_beside_one_that_we_do_not_serves() -> None:
    assert answer(challenge('Digest realm="r", nonce="n", qop="token, auth"'))["qop"] == "auth"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Digest",
        "Digest ",
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r, nonce="n"',
        'Digest realm="r" nonce="n"',
        'Digest realm="r", nonce="n',
        'Digest realm="r",, nonce="n"',
        'Digest ="r", nonce="n"',
        'Digest realm, nonce="n"',
        'Digest realm="r", nonce="n", Digest realm="s", nonce="m"',
        "Digest " + 'realm="r", nonce="' + "n" * MAX_CHALLENGE_LENGTH + '"',
    ],
)
def test_a_broken_challenge_is_a_parse_error(text: str) -> None:
    with pytest.raises(ParseError):
        Challenge.parse(text)


@given(st.text(max_size=200) | st.from_regex(r'Digest( *[a-z]+ *= *("[^"]{0,9}"?|[a-z]{0,5}) *,?){0,9}', fullmatch=True))
def test_arbitrary_text_is_a_challenge_or_nothing_or_a_parse_error(text: str) -> None:
    try:
        parsed = Challenge.parse(text)
    except ParseError:
        return
    if parsed is not None:
        assert parse_auth(make_credentials(parsed, "u", "p", "BYE", "sip:a@b", b"", 1, "c"))[1]["nonce"] == parsed.nonce


WIRE = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(["\udc80", "\udcff", '"', "\\"]), max_size=20)


@given(WIRE, WIRE, WIRE, WIRE, st.sampled_from(sorted(ALGORITHMS)), st.booleans(), st.sampled_from([(), ("auth",), ("auth-int",)]))
def test_what_we_write_reads_back(
    realm: str, nonce: str, user: str, opaque: str, algorithm: str, is_session: bool, qops: tuple[str, ...]
) -> None:
    asked = Challenge(realm, nonce, algorithm, opaque, qops, is_session=is_session)
    if any("\n" in part for part in (realm, nonce, user, opaque)):
        return  # no header value has a line end
    got = answer(asked, user=user)
    assert (got["realm"], got["nonce"], got["username"], got["opaque"]) == (realm, nonce, user, opaque)
    assert got.get("qop", "") == "".join(qops)


@pytest.mark.parametrize(
    "text",
    [
        "Digest a=" + " " * 4080 + '"',
        "Digest " + " " * 4080 + '"',
        "Digest a=b" + " " * 4080 + '"',
        "Digest " + "a" * 4080,
        "Digest a " + " " * 4080,
        'Digest a="' + "\\x" * 2040,
        'Digest a="' + "\\" * 4080,
        "Digest " + "a=," * 1360 + "b",
        " " * 4096,
    ],
    ids=range(9),
)
def test_no_text_costs_more_than_linear_time(text: str) -> None:
    started = time.process_time()
    for _ in range(10):
        with pytest.raises(ParseError):
            parse_auth(text)
    assert time.process_time() - started < 0.2
