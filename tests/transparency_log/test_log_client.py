"""The client against logs that lie, fail and come back: a simulated log behind httpx's transport seam."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from glasshouse_attestations.errors import GlasshouseError
from glasshouse_log import verify_entry
from glasshouse_log.client import LogClient, is_loopback
from glasshouse_log.errors import (
    AdmissionError,
    ConsistencyError,
    InclusionError,
    LogSignatureError,
    LogUnavailableError,
    MalformedEntryError,
    MalformedTileError,
    QuorumError,
    RollbackError,
    SplitViewError,
)
from glasshouse_log.merkle import leaf_hash
from glasshouse_log.monitor import read_news
from glasshouse_log.tiles import Tile, encode_entries
from support.log_trees import NOW, Simulator

Handler = Callable[[httpx.Request], httpx.Response]
Step = httpx.Response | Exception | Handler


def respond(status: int, content: bytes = b"") -> httpx.Response:
    """Return an answer that arrives as a stream, as one from the network does."""
    return httpx.Response(status, stream=httpx.ByteStream(content))


def serve(log: Simulator, *, entries: list[bytes] | None = None, note: bytes | None = None) -> Handler:
    """Answer as a log of fewer than 256 entries does, with changes that make it lie."""
    held = log.entries if entries is None else entries

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/checkpoint":
            return respond(200, note or log.note().encode())
        if path == "/v1/entries":
            return respond(200, log.proof(held.index(request.content)))
        if path == "/v1/proof":
            leaf = bytes.fromhex(request.url.params["leaf_hash"])
            return respond(200, log.proof(log.leaves.index(leaf)))
        tile = Tile.parse_path(path[1:])
        if tile.level is None:
            return respond(200, encode_entries(held[: tile.width]))
        return respond(200, b"".join(leaf_hash(item) for item in held[: tile.width]))

    return answer


def client(log: Simulator, handler: Handler, *, quorum: str = "2") -> LogClient:
    transport = httpx.MockTransport(handler)
    return LogClient(
        "http://log.invalid", log.policy(quorum), transport=transport, now=lambda: NOW, retry_delay=0.0
    )


def in_turn(*answers: Step) -> Handler:
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        item = next(left)
        if isinstance(item, Exception):
            raise item
        return item if isinstance(item, httpx.Response) else item(request)

    return answer


def test_an_honest_log_is_believed() -> None:
    log = Simulator(size=9)
    with client(log, serve(log)) as reader:
        assert verify_entry(log.entries[3], reader.add(log.entries[3]), log.policy(), now=NOW).index == 3
        assert reader.checkpoint().size == 9
        assert list(reader.entries(4, reader.checkpoint())) == log.entries[4:]
        assert len(reader.build_bundle(log.entries[:2]).consistency) == 8


@pytest.mark.parametrize("answers_at_last", [True, False])
def test_requests_are_repeated_until_the_log_answers(answers_at_last: bool) -> None:
    log = Simulator()
    failures: list[Step] = [httpx.ConnectError("refused"), respond(503), httpx.ReadTimeout("slow")]
    last = serve(log) if answers_at_last else respond(502)
    with client(log, in_turn(*failures, last)) as writer:
        if answers_at_last:
            writer.add(log.entries[0])
        else:
            with pytest.raises(LogUnavailableError, match="502"):
                writer.add(log.entries[0])


@pytest.mark.parametrize(
    ("status", "error"), [(400, MalformedEntryError), (403, AdmissionError), (404, LogUnavailableError)]
)
def test_a_refusal_is_not_repeated(status: int, error: type[GlasshouseError]) -> None:
    log = Simulator()
    writer = client(log, in_turn(respond(status, b"no\x1b[2J")))
    with writer, pytest.raises(error) as caught:
        writer.add(b"entry")
    assert "\x1b" not in str(caught.value)


def test_a_redirect_is_not_followed() -> None:
    log = Simulator()
    answer = respond(302)
    answer.headers.update({"Location": "http://elsewhere.invalid/checkpoint"})
    with client(log, in_turn(answer)) as reader, pytest.raises(LogUnavailableError):
        reader.checkpoint()


def test_an_endless_answer_is_cut_off() -> None:
    log = Simulator()
    reader = client(log, in_turn(respond(200, b"x" * 100_000)))
    with reader, pytest.raises(LogUnavailableError, match="more than"):
        reader.checkpoint()


def test_the_logs_key_comes_from_the_policy_and_never_from_the_log() -> None:
    log, impostor = Simulator(), Simulator()
    with client(log, serve(impostor)) as reader:
        with pytest.raises(LogSignatureError):
            reader.checkpoint()
        with pytest.raises(LogSignatureError):
            reader.add(impostor.entries[0])


def test_a_checkpoint_without_a_quorum_is_refused() -> None:
    log = Simulator()
    with client(log, serve(log, note=log.note(by=(1,)).encode())) as reader, pytest.raises(QuorumError):
        reader.checkpoint()


def test_a_proof_of_another_entry_is_refused() -> None:
    log = Simulator()

    def swap(_request: httpx.Request) -> httpx.Response:
        return respond(200, log.proof(1))

    with client(log, swap) as writer, pytest.raises(InclusionError):
        writer.add(log.entries[0])


def test_false_tiles_and_entries_are_refused() -> None:
    log = Simulator()
    forged = [*log.entries[:3], b"forged", *log.entries[4:]]
    with client(log, serve(log, entries=forged)) as reader:
        checkpoint = reader.checkpoint()
        with pytest.raises(InclusionError):
            list(reader.entries(0, checkpoint))
        with pytest.raises(InclusionError):
            reader.prove_index(3)
        with pytest.raises(InclusionError):
            reader.build_bundle([log.entries[0]])
    with client(log, serve(log, entries=log.entries[:4])) as reader, pytest.raises(MalformedTileError):
        list(reader.entries(0, reader.checkpoint()))


def test_a_partial_tile_that_has_gone_is_cut_from_the_full_one() -> None:
    log = Simulator()
    full = encode_entries([b"%d" % number for number in range(256)])
    with client(log, in_turn(respond(404), respond(200, full))) as reader:
        assert reader.fetch_tile(Tile(level=None, index=0, width=2)) == encode_entries([b"0", b"1"])


def test_a_monitor_sees_only_what_is_new() -> None:
    old, new = Simulator(size=3), Simulator(size=7)
    new.log, new.witnesses = old.log, old.witnesses
    with client(new, serve(new)) as reader:
        assert list(read_news(reader, None).entries()) == list(enumerate(new.entries))
        news = read_news(reader, old.note().encode())
        assert list(news.entries()) == list(enumerate(new.entries))[3:]
        assert list(read_news(reader, news.checkpoint.raw).entries()) == []


def test_a_monitor_notices_rollback_fork_and_split_view() -> None:
    log = Simulator()
    with client(log, serve(log)) as reader:
        with pytest.raises(RollbackError):
            read_news(reader, log.note(size=9).encode())
        with pytest.raises(SplitViewError):
            read_news(reader, log.note(root=bytes(32)).encode())
        with pytest.raises(ConsistencyError):
            read_news(reader, log.note(size=3, root=bytes(32)).encode())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:80", True),
        ("http://[::1]/", True),
        ("http://localhost:1", True),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("", False),
    ],
)
def test_a_proxy_is_bypassed_for_this_machine_only(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
