"""A real log with real witnesses, over real HTTP on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from glasshouse_attestations import dsse
from glasshouse_attestations.bundle import Bundle
from glasshouse_attestations.keys import SigningKey
from glasshouse_log import verify_checkpoint, verify_entry
from glasshouse_log.admission import check_admission
from glasshouse_log.errors import (
    AdmissionError,
    InclusionError,
    LogUnavailableError,
    MalformedEntryError,
    QuorumError,
)
from glasshouse_log.merkle import check_consistency, leaf_hash
from glasshouse_log.policy import TrustPolicy
from glasshouse_log.proof import Proof
from glasshouse_log.tiles import Tile, decode_entries
from glasshouse_log.witness import origin_hash
from support.log_service import LocalLog, envelope, local_log, run_local_log
from support.log_trees import NOW

__all__ = ["local_log"]

FUTURE = NOW.replace(year=2100)


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


def test_an_added_entry_has_a_proof_that_verifies_offline(local_log: LocalLog) -> None:
    entry = envelope(b"first")
    with local_log.client() as client:
        proof = client.add(entry)
    outcome = verify_entry(entry, proof, TrustPolicy.parse(local_log.policy_text), now=FUTURE)
    assert len(outcome.checkpoint.cosigned) >= 2
    assert outcome.checkpoint.origin == local_log.key.name


def test_adding_is_idempotent(local_log: LocalLog) -> None:
    entry = envelope(b"once")
    with local_log.client() as client:
        index = Proof.parse(client.add(entry)).index
        size = client.checkpoint().size
        assert Proof.parse(client.add(entry)).index == index
        assert client.checkpoint().size == size


def test_the_same_entry_offered_by_many_at_once_is_added_once(local_log: LocalLog) -> None:
    entry = envelope(b"racing")
    indexes: list[int] = []

    def add() -> None:
        with local_log.client() as client:
            indexes.append(Proof.parse(client.add(entry)).index)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(indexes) == 8
    assert len(set(indexes)) == 1


def test_a_bundle_names_one_checkpoint_and_reaches_back(local_log: LocalLog) -> None:
    entries = [envelope(b"%d" % number) for number in range(3)]
    with local_log.client() as client:
        old = [verify_entry(e, client.add(e), local_log.policy, now=FUTURE).checkpoint for e in entries]
        bundle = client.build_bundle(entries)
    assert Bundle.parse(bundle.encode()) == bundle
    found = [verify_entry(item.envelope, item.proof, local_log.policy, now=FUTURE) for item in bundle.entries]
    assert len({item.checkpoint.raw for item in found}) == 1
    checkpoint = found[0].checkpoint
    assert [item.size for item in bundle.consistency] == list(range(1, checkpoint.size))
    roots = {item.size: item.root for item in old}
    for item in bundle.consistency:
        if item.size in roots:
            root = roots[item.size]
            check_consistency(item.size, root, item.hashes, size=checkpoint.size, root=checkpoint.root)
    assert len(roots.keys() & {item.size for item in bundle.consistency}) >= 2


def test_entries_are_read_back_and_proved_one_by_one(local_log: LocalLog) -> None:
    entry = envelope(b"read me")
    with local_log.client() as client:
        client.add(entry)
        checkpoint = client.checkpoint()
        entries = list(client.entries(0, checkpoint))
        assert len(entries) == checkpoint.size
        index = entries.index(entry)
        found, proof = client.prove_index(index)
        assert (found, Proof.parse(proof).index) == (entry, index)
        assert Proof.parse(client.prove(entry)).index == index
        with pytest.raises(InclusionError):
            client.prove_index(checkpoint.size)
        with pytest.raises(LogUnavailableError, match="404"):
            client.prove(b"never added")


def test_the_static_resources_are_those_of_the_specification(local_log: LocalLog, http: httpx.Client) -> None:
    with local_log.client() as client:
        client.add(envelope(b"static"))
    answer = http.get(f"{local_log.url}/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    checkpoint = verify_checkpoint(answer.content, local_log.policy, now=FUTURE)
    for level, width in ((0, checkpoint.size), (None, checkpoint.size), (0, 1)):
        tile = Tile(level=level, index=0, width=width)
        answer = http.get(f"{local_log.url}/{tile.path}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
        assert "immutable" in answer.headers["cache-control"]
    hashes = http.get(f"{local_log.url}/tile/0/000.p/{checkpoint.size}").content
    bundle = http.get(f"{local_log.url}/tile/entries/000.p/{checkpoint.size}").content
    entries = decode_entries(bundle, checkpoint.size)
    assert b"".join(leaf_hash(entry) for entry in entries) == hashes


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/tile/0/000", 404, "not-found"),
        ("/tile/0/000.p/255", 404, "not-found"),
        ("/tile/1/000.p/1", 404, "not-found"),
        ("/tile/0/00", 404, "not-found"),
        ("/tile/0/000.p/0", 404, "not-found"),
        ("/tile/%2e%2e/%2e%2e/log.key", 404, "not-found"),
        ("/tile/0/x999/x999/x999/999", 404, "not-found"),
        ("/nothing", 404, "not-found"),
        ("/v1/entries", 405, "method-not-allowed"),
        ("/v1/proof", 400, "bad-request"),
        ("/v1/proof?leaf_hash=abc", 400, "bad-request"),
        ("/v1/proof?leaf_hash=" + "AB" * 32, 400, "bad-request"),
        ("/v1/proof?leaf_hash=" + "ab" * 32, 404, "not-found"),
    ],
)
def test_what_is_not_there_is_refused_clearly(
    local_log: LocalLog, http: httpx.Client, path: str, status: int, code: str
) -> None:
    answer = http.get(local_log.url + path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"x" * 1000, envelope(b"x") + b"\n", b" " + envelope(b"x"), b"\xff"]
)
def test_only_canonical_envelopes_are_taken(local_log: LocalLog, http: httpx.Client, body: bytes) -> None:
    answer = http.post(f"{local_log.url}/v1/entries", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-entry")
    with local_log.client() as client, pytest.raises(MalformedEntryError):
        client.add(body)


def test_an_entry_has_at_most_65535_bytes(local_log: LocalLog, http: httpx.Client) -> None:
    largest = envelope(b"x" * 48_900)
    assert 65_000 < len(largest) <= 65_535
    with local_log.client() as client:
        client.add(largest)
        with pytest.raises(MalformedEntryError):
            client.add(b"x" * 65_536)
    answer = http.post(f"{local_log.url}/v1/entries", content=b"x" * 65_536)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


@pytest.mark.parametrize("header", ["Content-Length: 1000000000", "Transfer-Encoding: chunked"])
def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(local_log: LocalLog, header: str) -> None:
    host, port = local_log.server.listen.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"POST /v1/entries HTTP/1.1\r\nHost: log\r\n{header}\r\n\r\n".encode())
        if "chunked" in header:
            connection.sendall(b"10001\r\n" + b"x" * 0x10001 + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_only_admitted_signers_are_taken(tmp_path: Path) -> None:
    admitted, other = SigningKey.generate(), SigningKey.generate()
    with run_local_log(tmp_path, witnesses=1, admitted=[admitted.public_key]) as log, log.client() as client:
        client.add(envelope(b"known", admitted))
        with pytest.raises(AdmissionError):
            client.add(envelope(b"unknown", other))
        forged = envelope(b"forged", admitted).replace(b"text/plain", b"text/other")
        with pytest.raises(AdmissionError):
            client.add(forged)
        assert client.checkpoint().size == 1


def test_nobody_makes_new_entries_of_old_ones_by_adding_a_signature() -> None:
    admitted, second, other = (SigningKey.generate() for _ in range(3))
    keys = [admitted.public_key, second.public_key]
    payload = (b"known", "text/plain")
    check_admission(dsse.sign(*payload, admitted, second).encode(), keys)
    for signers in ((admitted, other), (admitted, second, other)):
        entry = dsse.sign(*payload, *signers).encode()
        with pytest.raises(AdmissionError, match="too"):
            check_admission(entry, keys)
        check_admission(entry, None)


def test_nothing_is_acknowledged_without_a_quorum_and_nothing_is_lost(tmp_path: Path) -> None:
    entry = envelope(b"patient")
    with run_local_log(tmp_path, witnesses=3, quorum=2) as log, log.client() as client:
        client.add(envelope(b"before"))
        log.witnesses[0].stop()
        client.add(envelope(b"two are enough"))
        log.witnesses[1].kill()
        waiting = threading.Thread(target=lambda: proofs.append(client.add(entry)))
        proofs: list[bytes] = []
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive()
        with log.client() as reader:
            assert reader.checkpoint().size == 2
        log.witnesses[1].start()
        waiting.join(20)
        assert verify_entry(entry, proofs[0], log.policy, now=FUTURE).index == 2
        assert log.server.pid is not None


def test_a_stricter_policy_than_the_logs_own_is_not_met(tmp_path: Path) -> None:
    with run_local_log(tmp_path, witnesses=2, quorum=1) as log:
        log.witnesses[0].stop()
        with log.client() as client:
            proof = client.add(entry := envelope(b"one witness"))
        both = TrustPolicy(
            logs=log.policy.logs,
            witnesses=log.policy.witnesses,
            groups=(TrustPolicy.parse(log.policy_text.replace(b"quorum 1 ", b"quorum 2 ")).groups),
            quorum="quorum",
        )
        with pytest.raises(QuorumError):
            verify_entry(entry, proof, both, now=FUTURE)


def test_a_log_without_witnesses_says_so(tmp_path: Path) -> None:
    with run_local_log(tmp_path, witnesses=0) as log, log.client() as client:
        client.add(envelope(b"alone"))
        assert not client.checkpoint().is_witnessed
        assert b"quorum none" in log.policy_text


def test_a_directory_used_before_continues_its_log(tmp_path: Path) -> None:
    entry = envelope(b"kept")
    with run_local_log(tmp_path) as log, log.client() as client:
        client.add(entry)
    with run_local_log(tmp_path) as log, log.client() as client:
        assert Proof.parse(client.add(entry)).index == 0
        assert Proof.parse(client.add(envelope(b"new"))).index == 1


def test_a_witness_serves_what_it_cosigned(local_log: LocalLog, http: httpx.Client) -> None:
    with local_log.client() as client:
        client.add(envelope(b"witnessed"))
        size = client.checkpoint().size
    for number, witness in enumerate(local_log.witnesses, 1):
        answer = http.get(f"{witness.url}/{origin_hash(local_log.key.name)}/checkpoint")
        alone = local_log.policy_text.replace(b"quorum quorum", b"quorum witness-%d" % number)
        checkpoint = verify_checkpoint(answer.content, TrustPolicy.parse(alone), now=FUTURE)
        assert checkpoint.size == size
        assert http.get(f"{witness.url}/{'00' * 32}/checkpoint").status_code == 404


def test_a_witness_answers_over_http_as_specified(local_log: LocalLog, http: httpx.Client) -> None:
    url = f"{local_log.witnesses[0].url}/add-checkpoint"
    note = http.get(f"{local_log.url}/checkpoint").content
    size = int(note.split(b"\n")[1])
    conflict = http.post(url, content=b"old 0\n\n" + note)
    assert (conflict.status_code, conflict.content) == (409, b"%d\n" % size)
    assert conflict.headers["content-type"] == "text/x.tlog.size"
    again = http.post(url, content=b"old %d\n\n" % size + note)
    assert (again.status_code, again.content.startswith("— witness-1.".encode())) == (200, True)
    assert http.post(url, content=b"old 1\n\n" + note.replace(b"log.", b"lag.", 1)).status_code == 404
    assert http.post(url, content=b"nonsense").status_code == 400
    assert http.post(url, content=b"x" * 100_000).status_code == 413
    assert http.get(url).status_code == 405


def test_local_servers_do_not_outlive_whoever_started_them(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from glasshouse_log.local import run_local_log\n"
        "with run_local_log(pathlib.Path(sys.argv[1]), witnesses=1) as log:\n"
        "    print(log.server.url, log.witnesses[0].url, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        urls = starter.stdout.readline().split()
        starter.kill()
    deadline = time.monotonic() + 30
    while any(answers(url) for url in urls):
        assert time.monotonic() < deadline, "a server outlived its starter"
        time.sleep(0.05)


def answers(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True
