"""One client's connection and its one request, from the first byte of its head to the last of its answer.

    HEAD ─▶ decision ─▶ RESOLVING ─▶ CONNECTING ─▶ RELAYING ─▶ CLOSING ─▶ over
      └─────────┴── no ────┴────────────┴── a page that says why ─┘

It is a machine without a clock: `step` looks at what both connections and the resolver have come to, and moves on as
far as that leads. What is kept between them is bounded by their windows: no byte is read that the other side has no
room for, but for a head, which has a length of its own.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, final

from vafw.traffic.host.stack import Address, Interface
from vafw.traffic.host.tcp import Connection, End
from vafw_appliances.proxy import head as heads
from vafw_appliances.proxy.body import BadBody
from vafw_appliances.proxy.decision import Rules, Site
from vafw_appliances.proxy.network import Network, address
from vafw_appliances.proxy.page import Refusal
from vafw_appliances.proxy.reach import forbidden
from vafw_appliances.proxy.record import Record
from vafw_appliances.proxy.request import ESTABLISHED, Request, read_request
from vafw_appliances.proxy.resolver import Lookup
from vafw_appliances.proxy.response import Answer, BadAnswer

HEAD_PATIENCE_S: Final = 30.0
"""Seconds from a connection's opening to the end of its head: whoever dribbles holds a place no longer than that."""
ANSWER_PATIENCE_S: Final = 60.0
"""Seconds without a byte until an origin that has the request is late."""
IDLE_S: Final = 300.0
"""Seconds without a byte either way until a tunnel or an answer has been forgotten by its ends."""
CLOSE_PATIENCE_S: Final = 10.0
"""Seconds in which a client has to read something of what is left for it, or to close."""
LONGEST_CLOSE_S: Final = 300.0
"""Seconds after which it is cut however much it reads: a window of 64 KiB is gone by then at two kilobits a second."""


class Phase(Enum):
    """Where a session stands."""

    HEAD = "head"
    RESOLVING = "resolving"
    CONNECTING = "connecting"
    RELAYING = "relaying"
    CLOSING = "closing"


@final
class Session:
    """One client's connection."""

    def __init__(self, client: Connection, network: Network, record: Record, now_s: float) -> None:
        self.client = client
        self.verdict = ""
        """The rule or reason that the last step has refused the request by; empty where it has not."""
        self._network = network
        self._record = record
        self._phase = Phase.HEAD
        self._since_s = self._moved_s = now_s
        self._moved = 0
        self._head = bytearray()
        self._for_origin = bytearray()
        self._for_client = bytearray()
        self._request: Request | None = None
        self._lookup: Lookup | None = None
        self._addresses: list[Address] = []
        self._failure = Refusal(502, "the site has no address that can be reached")
        self._origin: Connection | None = None
        self._answer: Answer | None = None
        self._rule = ""
        self._is_counted = False
        self._told = 0
        """Bytes that the client had acknowledged when it last acknowledged any while the session closes."""
        self._told_s = now_s

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done."""
        return self.client.end is not None and (self._origin is None or self._origin.end is not None)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left but to answer the last words of either end again."""
        return self.client.is_settled and (self._origin is None or self._origin.is_settled)

    @property
    def is_resolving(self) -> bool:
        """Whether it waits for a resolver."""
        return self._phase is Phase.RESOLVING

    @property
    def origin(self) -> Connection | None:
        """The connection to the site, once there is one."""
        return self._origin

    @property
    def site(self) -> Site | None:
        """What is asked for, once that is known."""
        return None if self._request is None else self._request.site

    @property
    def asker(self) -> Address:
        """The client's address."""
        return address(self.client.ends.version, self.client.ends.peer)

    def step(self, rules: Rules, links: tuple[Interface, ...], now_s: float) -> None:
        """Go on as far as possible."""
        self.verdict = ""
        self._watch(now_s)
        phase = None
        while phase is not self._phase:
            phase = self._phase
            match phase:
                case Phase.HEAD:
                    self._read_head(rules, links, now_s)
                case Phase.RESOLVING:
                    self._resolve(links, now_s)
                case Phase.CONNECTING:
                    self._connect(now_s)
                case Phase.RELAYING:
                    self._relay(now_s)
                case Phase.CLOSING:
                    self._close(now_s)
        for each in (self.client, self._origin):
            if each is not None:
                each.flush(now_s)
        self._count()

    def judge_again(self, rules: Rules) -> None:
        """End it at once if other rules do not let it through any more."""
        if self._request is not None and self._phase is not Phase.CLOSING:
            decision = rules.judge(self._request.site, self.asker)
            if not decision.allowed:
                self.cut(f"not allowed any more: {decision.rule}")

    def forget(self) -> None:
        """End it at once, without a word."""
        self._end()

    def cut(self, reason: str) -> None:
        """End it at once, without a page."""
        self._record.refused(str(self.asker), self._method, self.site, reason)
        self._end()

    # -- the request ------------------------------------------------------------------------------------------

    @property
    def _method(self) -> str:
        return "" if self._request is None else self._request.method

    def _read_head(self, rules: Rules, links: tuple[Interface, ...], now_s: float) -> None:
        self._head += self.client.read(heads.LONGEST_HEAD - len(self._head))
        try:
            length = heads.head_length(self._head)
        except heads.TooLarge as error:
            self._refuse(Refusal(431, str(error)), now_s)
            return
        except heads.MalformedHead as error:
            self._refuse(Refusal(400, str(error)), now_s)
            return
        if length is None:
            if self.client.peer_is_done:
                self._end()
            return
        head, rest = self._head[:length], self._head[length:]
        self._head.clear()
        request = read_request(head)
        if isinstance(request, Refusal):
            self._refuse(request, now_s)
        else:
            self._decide(request, bytes(rest), rules, links, now_s)

    def _decide(self, request: Request, rest: bytes, rules: Rules, links: tuple[Interface, ...], now_s: float) -> None:
        self._request = request
        decision = rules.judge(request.site, self.asker)
        if not decision.allowed:
            self._block(request.site, decision.rule, now_s)
            return
        self._rule = decision.rule
        try:
            self._for_origin += request.onward + request.body.take(rest)
        except BadBody as error:
            self._refuse(Refusal(400, str(error)), now_s)
            return
        host = request.site.host
        if isinstance(host, str):
            self._lookup = self._network.resolver.ask(host, self._network.versions, now_s)
            self._phase = Phase.RESOLVING
        else:
            self._reach(request.site, (host,), links, now_s)

    def _resolve(self, links: tuple[Interface, ...], now_s: float) -> None:
        lookup, request = self._lookup, self._request
        if lookup is None or request is None or not lookup.is_over:
            return
        if lookup.failure:
            self._refuse(Refusal(504 if lookup.timed_out else 502, lookup.failure), now_s)
        else:
            self._reach(request.site, lookup.addresses, links, now_s)

    def _reach(self, site: Site, addresses: tuple[Address, ...], links: tuple[Interface, ...], now_s: float) -> None:
        """Go to these addresses, if none of them is one that nobody may be led to."""
        what = next((what for each in addresses if (what := forbidden(each, links)) is not None), None)
        if what is not None:
            self._block(site, f"its address is {what}", now_s)
            return
        self._addresses = list(addresses)
        self._phase = Phase.CONNECTING

    # -- the origin -------------------------------------------------------------------------------------------

    def _connect(self, now_s: float) -> None:
        """Try one address after the other."""
        request = self._request
        while self._origin is None or self._origin.end is not None:
            if self._origin is not None:
                late = self._origin.end is End.TIMED_OUT
                self._failure = Refusal(504 if late else 502, f"the site does not answer ({self._origin.end})")
            if not self._addresses or request is None:
                self._refuse(self._failure, now_s)
                return
            self._origin = self._network.connect(self._addresses.pop(0), request.site.port, now_s)
        if self._origin.is_open and request is not None:
            self._phase = Phase.RELAYING
            self._moved_s = now_s
            self._record.allowed(request.method, request.site, self._rule)
            if request.is_tunnel:
                self._for_client += ESTABLISHED
            else:
                self._answer = Answer(request.method)

    def _relay(self, now_s: float) -> None:
        origin, request = self._origin, self._request
        if origin is None or request is None:
            return
        try:
            self._carry_request(origin, request)
            self._carry_answer(origin)
        except BadBody as error:
            self._fail(Refusal(400, str(error)), now_s)
        except BadAnswer as error:
            self._fail(Refusal(502, f"the site's answer: {error}"), now_s)
        else:
            self.client.flush(now_s)
            self._see_ends(origin, request, now_s)

    def _carry_request(self, origin: Connection, request: Request) -> None:
        """From the client to the origin, as long as it is the body of its one request."""
        if not self._for_origin and not request.body.is_over:
            self._for_origin += request.body.take(self.client.read(origin.room))
        del self._for_origin[: origin.write(bytes(self._for_origin))]
        if request.is_tunnel and self.client.peer_is_done and not self._for_origin:
            origin.shut()

    def _carry_answer(self, origin: Connection) -> None:
        """From the origin to the client."""
        if len(self._for_client) < heads.LONGEST_HEAD:
            data = origin.read(self.client.room)
            self._for_client += data if self._answer is None else self._answer.take(data)
        del self._for_client[: self.client.write(bytes(self._for_client))]

    def _see_ends(self, origin: Connection, request: Request, now_s: float) -> None:
        """What it means that one of them has closed, or is gone."""
        if self.client.end is not None:
            self._end()
        elif self._answer is not None:
            self._see_end_of_answer(origin, self._answer, request, now_s)
        elif origin.end not in (None, End.CLOSED):
            self._end()
        elif origin.peer_is_done and not self._for_client:
            self.client.shut()
            if self.client.peer_is_done and not self._for_origin:
                self._finish(now_s)

    def _see_end_of_answer(self, origin: Connection, answer: Answer, request: Request, now_s: float) -> None:
        if answer.is_over and not self._for_client:
            self._finish(now_s)
        elif origin.end not in (None, End.CLOSED) and not origin.unread:
            self._fail(Refusal(502, f"the site has ended the connection ({origin.end})"), now_s)
        elif origin.peer_is_done and not self._for_client:
            if answer.may_end:
                self._finish(now_s)
            else:
                self._fail(Refusal(502, "the site has ended its answer too early"), now_s)
        elif self.client.peer_is_done and not request.body.is_over and not self._for_origin:
            self._fail(Refusal(400, "the request has ended too early"), now_s)

    # -- the end ----------------------------------------------------------------------------------------------

    def _block(self, site: Site, rule: str, now_s: float) -> None:
        self._record.blocked(str(self.asker), self._method, site, rule)
        self._say(Refusal(403, rule), now_s)

    def _refuse(self, refusal: Refusal, now_s: float) -> None:
        self._record.refused(str(self.asker), self._method, self.site, refusal.rule)
        self._say(refusal, now_s)

    def _fail(self, refusal: Refusal, now_s: float) -> None:
        """A page, if nothing has gone to the client yet; else the client sees that not all has come."""
        if self._answer is not None and not self._answer.begun:
            self._refuse(refusal, now_s)
        else:
            self.cut(refusal.rule)

    def _say(self, refusal: Refusal, now_s: float) -> None:
        self.verdict = refusal.rule
        self._for_client[:] = refusal.page(with_body=self._method != "HEAD")
        if self._origin is not None:
            self._origin.abort()
        self._finish(now_s)

    def _finish(self, now_s: float) -> None:
        self._phase, self._since_s, self._told_s = Phase.CLOSING, now_s, now_s
        if self._lookup is not None:
            self._network.resolver.forget(self._lookup)

    def _close(self, now_s: float) -> None:
        """Send what is left, and listen to nobody any more."""
        origin = self._origin
        if origin is not None and origin.end is None:
            origin.read()
            if self._for_origin or (self._request is not None and not self._request.body.is_over and self._answer):
                origin.abort()  # what it has of the request is not all of it
            origin.shut()
        self.client.read()
        del self._for_client[: self.client.write(bytes(self._for_client))]
        if not self._for_client:
            self.client.shut()
        if self.client.end is not None and origin is not None and not origin.is_settled:
            origin.abort()
        if self.client.sent_bytes != self._told:
            self._told, self._told_s = self.client.sent_bytes, now_s
        if now_s - self._told_s >= CLOSE_PATIENCE_S or now_s - self._since_s >= LONGEST_CLOSE_S:
            self.forget()

    def _end(self) -> None:
        self._phase = Phase.CLOSING
        if self._lookup is not None:
            self._network.resolver.forget(self._lookup)
        for each in (self.client, self._origin):
            if each is not None:
                each.abort()

    def _watch(self, now_s: float) -> None:
        """See whether anything still moves."""
        if self.client.end is not None and self._phase is not Phase.CLOSING:
            self._end()
            return
        moved = sum(each.received_bytes + each.sent_bytes for each in (self.client, self._origin) if each is not None)
        if moved != self._moved:
            self._moved, self._moved_s = moved, now_s
        quiet_s = now_s - self._moved_s
        if self._phase is Phase.HEAD and now_s - self._since_s >= HEAD_PATIENCE_S:
            self.cut("the head is not there in time")
        elif self._phase is Phase.RELAYING and quiet_s >= ANSWER_PATIENCE_S and self._waits_for_origin:
            self._fail(Refusal(504, "the site does not answer in time"), now_s)
        elif self._phase is Phase.RELAYING and quiet_s >= IDLE_S:
            self.cut("nothing has moved for too long")

    @property
    def _waits_for_origin(self) -> bool:
        """Whether it is the origin of an answer that keeps silent, and not the client that does not read."""
        return self._answer is not None and not self.client.waiting

    def _count(self) -> None:
        """Add both sides' bytes to the record, once."""
        if self.is_over and not self._is_counted:
            self._is_counted = True
            self._record.to_clients += self.client.sent_bytes
            self._record.to_origins += 0 if self._origin is None else self._origin.sent_bytes
