"""What a sender counts, whatever a server of HTTP/2 does to its requests."""

from __future__ import annotations

import socket

from sardonyx_server.load.counters import NOT_SENT, WRONG_ANSWER
from sardonyx_server.load.sender import MAX_IN_FLIGHT
from sardonyx_wire.http2.frames import ErrorCode, FrameType, frame, rst_stream, window_update
from tests.client.http2.peers import Peer, PeerConnection
from tests.client.http2.wire import OPENING, TRAILERS, answer, data, headers, prefixed, settings
from tests.server.load.senders import answered, at_once, closed, sending


class TestAnswers:
    """Of servers that write them in their own ways."""

    def test_answers_may_be_cut_anywhere(self) -> None:
        """Each at another byte."""
        whole = len(answer(1, b"answer"))

        def cut(peer: PeerConnection) -> None:
            peer.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.greet()
            for at in range(whole):
                stream_id, _, _ = peer.request()
                said = answer(stream_id, b"answer")
                peer.send(said[:at])
                peer.send(said[at:])

        with Peer(cut) as server, sending(server.address, answer_bytes=6) as sender:
            counters = closed(sender, callers=1, requests=whole)
        assert (counters.sent, answered(counters), counters.statuses) == (whole, whole, {})

    def test_headers_may_go_on_in_further_frames_and_data_may_be_padded(self) -> None:
        """And a message come in several frames."""

        def script(peer: PeerConnection) -> None:
            peer.greet()
            for _ in range(3):
                stream_id, _, _ = peer.request()
                said = prefixed(b"answer")
                peer.send(
                    headers(stream_id, OPENING, pieces=3),
                    data(stream_id, said[:7], padding=9),
                    data(stream_id, said[7:]),
                    headers(stream_id, TRAILERS, end=True, pieces=2),
                )

        with Peer(script) as server, sending(server.address, answer_bytes=6) as sender:
            assert answered(closed(sender, callers=1, requests=3)) == 3

    def test_every_way_to_fail_is_counted_by_its_status(self) -> None:
        """Trailers alone, trailers behind a message, resets, another length."""

        def script(peer: PeerConnection) -> None:
            peer.greet()
            ids = [peer.request()[0] for _ in range(6)]
            trailers_only = (*OPENING, ("grpc-status", "8"), ("grpc-message", "full"))
            peer.send(
                headers(ids[0], trailers_only, end=True),
                headers(ids[1], OPENING),
                data(ids[1], prefixed(b"answer")),
                headers(ids[1], (("grpc-status", "13"),), end=True),
                rst_stream(ids[2], ErrorCode.REFUSED_STREAM),
                rst_stream(ids[3], ErrorCode.CANCEL),
                answer(ids[4], b"a longer answer"),
                answer(ids[5], b"answer"),
            )

        with Peer(script) as server, sending(server.address, answer_bytes=6) as sender:
            counters = at_once(sender, requests=6)
        assert answered(counters) == 1
        assert counters.statuses == {
            "RESOURCE_EXHAUSTED": 1,
            "INTERNAL": 1,
            "UNAVAILABLE": 1,
            "CANCELLED": 1,
            WRONG_ANSWER: 1,
        }

    def test_what_a_connection_asks_is_answered_in_the_middle_of_a_run(self) -> None:
        """Its settings and its pings: a server takes a silent client for dead."""
        acknowledged: list[int] = []

        def script(peer: PeerConnection) -> None:
            peer.greet()
            stream_id, _, _ = peer.request()
            peer.send(settings(MAX_FRAME_SIZE=1 << 15), frame(FrameType.PING, 0, 0, b"12345678"))
            while len(acknowledged) < 2:
                kind, flags, _, _ = peer.frame()
                if flags == 1:
                    acknowledged.append(kind)
            peer.send(answer(stream_id, b""))

        with Peer(script) as server, sending(server.address) as sender:
            assert answered(at_once(sender, requests=1)) == 1
        assert acknowledged[-1] == FrameType.PING


class TestLimits:
    """Of the server, and of time."""

    def test_large_requests_keep_to_small_windows(self) -> None:
        """The server allows 50 bytes at a time."""
        message = bytes(range(200))

        def script(peer: PeerConnection) -> None:
            peer.greet(INITIAL_WINDOW_SIZE=50)
            _, _, stream_id, _ = peer.until(FrameType.HEADERS)
            found, allowed = b"", 50
            while len(found) < len(message) + 5:
                _, _, _, payload = peer.until(FrameType.DATA)
                found += payload
                assert len(found) <= allowed
                if len(found) == allowed:
                    allowed += 50
                    peer.send(window_update(stream_id, 50))
            peer.send(answer(stream_id, found[5:]))

        with Peer(script) as server, sending(server.address, message, answer_bytes=200) as sender:
            assert answered(closed(sender, callers=1, requests=1)) == 1

    def test_no_more_streams_than_the_server_allows(self) -> None:
        """The others wait, and none is lost."""
        most = 0

        def script(peer: PeerConnection) -> None:
            nonlocal most
            peer.greet(MAX_CONCURRENT_STREAMS=1)
            for number in range(5):
                stream_id, _, _ = peer.request()
                # Whatever was sent before the answer came lies in the socket when the ping comes back.
                peer.send(frame(FrameType.PING, 0, 0, bytes(8)))
                begun = 1
                while (found := peer.frame())[:2] != (FrameType.PING, 1):
                    begun += found[0] == FrameType.HEADERS
                most = max(most, begun)
                peer.send(answer(stream_id, b"%d" % number))

        with Peer(script) as server, sending(server.address) as sender:
            counters = at_once(sender, requests=5)
        assert (answered(counters), most) == (5, 1)

    def test_a_latency_counts_from_when_the_request_was_due(self) -> None:
        """Ten seconds ago, as if the generator had been held up so long; those that wait for a stream too."""

        def script(peer: PeerConnection) -> None:
            peer.greet(MAX_CONCURRENT_STREAMS=1)
            for _ in range(3):
                peer.send(answer(peer.request()[0], b""))

        with Peer(script) as server, sending(server.address) as sender:
            counters = at_once(sender, requests=3, overdue_s=10.0)
        assert min(counters.latencies.by_value()) >= 9_990_000_000
        assert counters.late == 3

    def test_what_is_not_answered_in_time_is_given_up_and_the_server_is_told(self) -> None:
        """Also what waits for a stream; and the header says how long it may take."""
        given_up: list[tuple[int, bytes]] = []
        timeouts: list[str] = []

        def script(peer: PeerConnection) -> None:
            peer.greet(MAX_CONCURRENT_STREAMS=1)
            _, header, _ = peer.request()
            timeouts.append(header["grpc-timeout"])
            _, _, stream_id, code = peer.until(FrameType.RST_STREAM)
            given_up.append((stream_id, code))

        with Peer(script) as server, sending(server.address, timeout_s=0.5) as sender:
            counters = at_once(sender, requests=2)
        assert counters.statuses == {"DEADLINE_EXCEEDED": 2}
        assert given_up == [(1, int(ErrorCode.CANCEL).to_bytes(4))]
        assert timeouts == ["500000u"]

    def test_a_caller_whose_request_was_given_up_asks_again(self) -> None:
        """While others still wait."""

        def script(peer: PeerConnection) -> None:
            peer.greet()
            silent, _, _ = peer.request()
            for stream_id, _, _ in iter(peer.request, None):
                if stream_id != silent:
                    peer.send(answer(stream_id, b""))

        with Peer(script) as server, sending(server.address, timeout_s=1.0) as sender:
            counters = closed(sender, callers=1, requests=3)
        assert (answered(counters), counters.statuses) == (2, {"DEADLINE_EXCEEDED": 1})

    def test_more_under_way_than_memory_should_hold_are_not_sent(self) -> None:
        """They count as failed."""

        def script(peer: PeerConnection) -> None:
            peer.greet()
            peer.send(window_update(0, 1 << 20))
            ids = [peer.until(FrameType.HEADERS)[2] for _ in range(MAX_IN_FLIGHT)]
            peer.send(*(answer(stream_id, b"") for stream_id in ids))

        with Peer(script) as server, sending(server.address) as sender:
            counters = at_once(sender, requests=MAX_IN_FLIGHT + 10)
        assert (answered(counters), counters.statuses) == (MAX_IN_FLIGHT, {NOT_SENT: 10})
