"""What the proxy reads of HTTP: heads, bodies and answers, and everything that could be read in two ways."""

from __future__ import annotations

from http.client import parse_headers
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.appliances.proxy_street import connect, get
from vafw_appliances.proxy.body import BadBody, Chunked, Counted
from vafw_appliances.proxy.head import LONGEST_HEAD, MalformedHead, TooLarge, head_length
from vafw_appliances.proxy.page import PHRASES, Refusal
from vafw_appliances.proxy.request import Request, read_request
from vafw_appliances.proxy.response import MOST_INTERIM, Answer, BadAnswer

URL = "http://www.example.com/"
LINES = "lines must end with CR LF"
FIRST = "the first line must be a method, a target and HTTP/1.0 or HTTP/1.1"
FIELD = "a field must be a name, a colon and a value of printable characters"
TARGET = "the target must be http:// with a host and a path, as a proxy is asked"
HOST = "a host must be a name of letters, digits, hyphens and full stops, or an address"
PRINTABLE = "the target must be printable characters of ASCII, without a fragment"
AUTHORITY = "the target must name a host, and a port if it has one, without a user"
LENGTH = "Content-Length must be there once, and be a number"
BOTH = "Content-Length and Transfer-Encoding must not both be there"
CODING = "Transfer-Encoding must be chunked"
NAMED = "Connection must not name a field that says where the message ends or goes"


def read(head: bytes) -> Request | Refusal:
    assert head_length(head) == len(head)
    return read_request(head)


def accepted(head: bytes) -> Request:
    request = read(head)
    assert isinstance(request, Request), request
    return request


def test_a_request_goes_on_in_origin_form_without_what_is_for_the_proxy_alone() -> None:
    head = get(
        "http://WWW.example.com:80/a?b=c",
        "Accept: */*",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eA==",
        "Connection: keep-alive, X-Hop",
        "X-Hop: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Upgrade: websocket",
        "Via: 1.1 elsewhere",
        "X-Forwarded-For: 10.0.0.2",
        "Forwarded: for=10.0.0.2",
    )
    assert accepted(head).onward == (
        b"GET /a?b=c HTTP/1.1\r\nHost: www.example.com\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("url", "path", "host", "port"),
    [
        ("http://www.example.com", "/", "www.example.com", 80),
        ("http://www.example.com?x", "/?x", "www.example.com", 80),
        ("HTTP://www.example.com./", "/", "www.example.com", 80),
        ("http://www.example.com:443/x", "/x", "www.example.com", 443),
        ("http://198.51.100.7/", "/", "198.51.100.7", 80),
        ("http://[2001:db8::7]:80/", "/", "2001:db8::7", 80),
        ("http://www.example.com//http://x/", "//http://x/", "www.example.com", 80),
    ],
)
def test_a_target_is_taken_apart(url: str, path: str, host: str, port: int) -> None:
    request = accepted(get(url))
    assert (str(request.site.host), request.site.port, request.is_tunnel) == (host, port, False)
    assert request.onward.startswith(f"GET {path} HTTP/1.1\r\n".encode())


def test_the_host_that_goes_on_is_the_targets_and_not_what_the_client_says() -> None:
    head = b"GET http://www.example.com/ HTTP/1.1\r\nHost: ads.example.net\r\n\r\n"
    assert b"Host: www.example.com\r\n" in accepted(head).onward
    assert b"ads" not in accepted(head).onward


def test_a_tunnel_passes_nothing_of_its_head_on() -> None:
    request = accepted(connect("www.example.com:443"))
    assert (request.is_tunnel, request.onward, str(request.site)) == (True, b"", "www.example.com:443")


@pytest.mark.parametrize(
    ("head", "status", "rule"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, TARGET),
        (b"GET https://www.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, TARGET),
        (b"GET http://www.example.com/ HTTP/2.0\r\nHost: x\r\n\r\n", 400, FIRST),
        (b"GET http://www.example.com/\r\nHost: x\r\n\r\n", 400, FIRST),
        (b"GET  http://www.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, FIRST),
        (b"G(T http://www.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", 400, FIRST),
        (b"\r\nGET http://www.example.com/ HTTP/1.1\r\n\r\n", 400, FIELD),
        (get("http://www.example.com/#x"), 400, PRINTABLE),
        (get("http://www.ex\xe4mple.com/"), 400, PRINTABLE),
        (get("http://user@www.example.com/"), 400, AUTHORITY),
        (get("http://www.example.com:80:80/"), 400, AUTHORITY),
        (get("http://www.example.com:/"), 400, AUTHORITY),
        (get("http:///x"), 400, AUTHORITY),
        (get("http://www..example.com/"), 400, HOST),
        (get("http://-x.example.com/"), 400, HOST),
        (get(f"http://{'a.' * 130}com/"), 400, HOST),
        (get("http://www.example.com%00.evil.net/"), 400, HOST),
        (get("http://127.1/"), 400, "a host that ends in a number must be four numbers from 0 to 255"),
        (get("http://0x7f000001/"), 400, "a host that ends in a number must be four numbers from 0 to 255"),
        (get("http://[::x]/"), 400, AUTHORITY),
        (get("http://[1::2::3]/"), 400, "a host in brackets must be an IPv6 address"),
        (get("http://www.example.com:0/"), 400, "a port must be from 1 to 65535"),
        (get("http://www.example.com:65536/"), 400, "a port must be from 1 to 65535"),
        (connect("www.example.com"), 400, "CONNECT must name a host and a port"),
        (b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400,
         "CONNECT must not come with a body"),
        (get(URL, method="TRACE"), 405,
         "the method must be one of DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT and CONNECT"),
        (b"GET http://www.example.com/ HTTP/1.1\r\n\r\n", 400, "Host must be there once"),
        (get(URL, "host: again"), 400, "Host must be there once"),
        (get(URL, "Name : value"), 400, FIELD),
        (get(URL, "Name: a", " folded"), 400, FIELD),
        (get(URL, "Na me: a"), 400, FIELD),
        (get(URL, ": a"), 400, FIELD),
        (get(URL, "Name"), 400, FIELD),
        (get(URL, "Name: a\0b"), 400, FIELD),
        (get(URL, *[f"X-{at}: 1" for at in range(100)]), 431, "a head must have at most 100 fields"),
        (get(URL, "Content-Length: 5", "Content-Length: 5"), 400, LENGTH),
        (get(URL, "Content-Length: 5, 5"), 400, LENGTH),
        (get(URL, "Content-Length: +5"), 400, LENGTH),
        (get(URL, "Content-Length: 0x5"), 400, LENGTH),
        (get(URL, "Content-Length: "), 400, LENGTH),
        (get(URL, f"Content-Length: {10**15}"), 413, "a body's length must have at most 15 digits"),
        (get(URL, "Content-Length: 5", "Transfer-Encoding: chunked"), 400, BOTH),
        (get(URL, "Transfer-Encoding: gzip, chunked"), 400, CODING),
        (get(URL, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400, CODING),
        (get(URL, "Transfer-Encoding: xchunked"), 400, CODING),
        (get(URL, "Transfer-Encoding: "), 400, CODING),
        (get(URL, "Transfer-Encoding: chunked", version="HTTP/1.0"), 400, "HTTP/1.0 has no Transfer-Encoding"),
        (get(URL, "Connection: close, Content-Length", "Content-Length: 5"), 400, NAMED),
        (get(URL, "Connection: transfer-encoding"), 400, NAMED),
        (get(URL, "Connection: Host"), 400, NAMED),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_or_in_none_is_refused(head: bytes, status: int, rule: str) -> None:
    assert read(head) == Refusal(status, rule)


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\n", b"GET /\n\n", b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", b"GET /\r\nA: b\rC: d\r\n\r\n",
     b"\r\r\n\r\n"],
)  # fmt: skip
def test_a_line_that_ends_in_another_way_is_refused_at_once(head: bytes) -> None:
    with pytest.raises(MalformedHead, match=f"^{LINES}$"):
        head_length(head)


def test_a_head_that_is_too_long_is_refused_before_it_is_whole() -> None:
    assert head_length(b"x" * (LONGEST_HEAD - 1)) is None
    with pytest.raises(TooLarge, match=f"^a head must have at most {LONGEST_HEAD} bytes$"):
        head_length(b"x" * LONGEST_HEAD)
    with pytest.raises(TooLarge):
        head_length(b"x" * LONGEST_HEAD + b"\r\n\r\n")


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=300), st.builds(
    b"".join,
    st.lists(st.sampled_from([b"GET", b"CONNECT", b" ", b"http://", b"www.example.com", b":", b"443", b"/", b"\r\n",
                              b"HTTP/1.1", b"Host: x", b"\r", b"\n", b"Content-Length: 5", b"[", b"]", b"@", b"#",
                              b"Transfer-Encoding: chunked", b"%", b"\0", b"\xff"]), max_size=30))))  # fmt: skip
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    data += b"\r\n\r\n"
    try:
        length = head_length(data)
    except (MalformedHead, TooLarge):
        return
    assert length is not None
    request = read_request(data[:length])
    if isinstance(request, Request) and not request.is_tunnel:
        again = request.onward
        assert head_length(again) == len(again)
        assert again.lower().count(b"\r\nhost:") == 1
        assert again.count(b"\r\nConnection: close\r\n") == 1


FIELD_NAMES = [
    *[
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Host",
        "TE",
        "Upgrade",
        "X-A",
        "x_a",
        "Keep-Alive",
        "Via",
    ],
    "Transfer-Encoding ",
    "Content\tLength",
    "Proxy-Connection",
]
FIELD_VALUES = [
    *[
        "5",
        "0",
        "05",
        "5,5",
        "chunked",
        "Chunked",
        "identity",
        "close",
        "keep-alive",
        "x-a",
        "content-length",
        "Transfer-Encoding",
        "www.example.com",
    ],
    " 5 ",
    "chunked, chunked",
    "\x0bchunked",
    "",
    "5\r\n 6",
]


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(FIELD_NAMES), st.sampled_from(FIELD_VALUES)), max_size=4))
def test_a_reader_that_is_not_ours_finds_the_same_end_in_what_goes_on(fields: list[tuple[str, str]]) -> None:
    """Python's own parser of heads, which forgives much, as the origin."""
    head = get(URL, *[f"{name}: {value}" for name, value in fields], method="POST")
    try:
        length = head_length(head)
    except MalformedHead:
        return
    assert length == len(head)
    request = read_request(head)
    if isinstance(request, Refusal):
        return
    theirs = parse_headers(BytesIO(request.onward.partition(b"\r\n")[2]))
    lengths, codings = theirs.get_all("content-length", []), theirs.get_all("transfer-encoding", [])
    assert len(lengths) + len(codings) <= 1
    assert isinstance(request.body, Chunked) == ([each.lower() for each in codings] == ["chunked"])
    if isinstance(request.body, Counted):
        assert len(request.body.take(bytes(100))) == int((lengths or ["0"])[0])
    assert theirs.get_all("host") == ["www.example.com"]
    assert theirs.get_all("connection") == ["close"]
    assert not {"te", "upgrade", "keep-alive", "via", "proxy-connection"} & {each.lower() for each in theirs}


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.binary(max_size=20), st.data())
def test_chunks_end_where_they_say_however_they_are_cut(chunks: list[bytes], rest: bytes, data: st.DataObject) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"
    whole, taken, at = body + rest, b"", 0
    reader = Chunked()
    while at < len(whole):
        size = data.draw(st.integers(1, len(whole) - at))
        taken += reader.take(whole[at : at + size])
        at += size
    assert (taken, reader.is_over) == (body, True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"5;x=y\r\nhello\r\n", "a chunk must begin with its size in hexadecimal digits and CR LF"),
        (b"5\nhello\r\n", "a chunk must begin with its size in hexadecimal digits and CR LF"),
        (b"-5\r\n", "a chunk must begin with its size in hexadecimal digits and CR LF"),
        (b"0x5\r\n", "a chunk must begin with its size in hexadecimal digits and CR LF"),
        (b"\r\n", "a chunk must begin with its size in hexadecimal digits and CR LF"),
        (b"f" * 16 + b"\r\n", "a chunk must begin with its size in hexadecimal digits and CR LF"),
        (b"0" * 40, "a chunk's first line must have at most 18 bytes"),
        (b"5\r\nhelloXX", "a chunk must end with CR LF"),
        (b"5\r\nhello\n\n", "a chunk must end with CR LF"),
        (b"0\r\nX-Trailer: 1\r\n\r\n", "chunks must end without trailers"),
    ],
)
@pytest.mark.parametrize("step", [1, 100])
def test_chunks_that_do_not_keep_to_their_framing_are_refused(body: bytes, message: str, step: int) -> None:
    with pytest.raises(BadBody) as caught:
        taken_by(Chunked(), [body[at : at + step] for at in range(0, len(body), step)])
    assert str(caught.value) == message


def taken_by(reader: Chunked, parts: list[bytes]) -> bytes:
    return b"".join(map(reader.take, parts))


def test_a_counted_body_lets_nothing_through_behind_its_end() -> None:
    body = Counted(5)
    assert (body.take(b"hel"), body.take(b"loGET /smuggled"), body.is_over) == (b"hel", b"lo", True)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: x\r\nConnection: keep-alive\r\n\r\n"


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_answer_goes_on_and_says_that_the_connection_ends_with_it(step: int) -> None:
    answer, data, said = Answer("GET"), ANSWER + b"hello, and more than that", b""
    for at in range(0, len(data), step):
        said += answer.take(data[at : at + step])
    assert said == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    assert answer.is_over


@pytest.mark.parametrize(
    ("method", "head"),
    [("HEAD", ANSWER), ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
     ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")],
)  # fmt: skip
def test_an_answer_without_a_body_is_over_with_its_head(method: str, head: bytes) -> None:
    answer = Answer(method)
    assert (b"smuggled" in answer.take(head + b"smuggled"), answer.is_over) == (False, True)


def test_an_answer_in_chunks_goes_on_in_chunks_until_the_connection_ends() -> None:
    answer = Answer("GET")
    said = answer.take(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    assert said.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    assert (answer.is_over, answer.may_end) == (False, True)


def test_interim_answers_go_before_the_final_one() -> None:
    answer = Answer("POST")
    assert answer.take(b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER).startswith(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: y\n\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_INTERIM + 1),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * LONGEST_HEAD,
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        Answer("GET").take(data)


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["GET", "HEAD"]))
def test_any_bytes_of_an_origin_go_on_or_are_refused(data: bytes, method: str) -> None:
    answer = Answer(method)
    try:
        answer.take(b"HTTP/1.1 200 OK\r\n" + data)
        answer.take(data)
    except BadAnswer:
        return


@pytest.mark.parametrize("status", PHRASES)
def test_a_page_is_as_long_as_it_says(status: int) -> None:
    page = Refusal(status, "a rule")
    head, _, body = page.page().partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}\r\n".encode() in head
    assert page.page(with_body=False) == head + b"\r\n\r\n"
