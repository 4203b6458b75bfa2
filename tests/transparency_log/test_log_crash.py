"""The log server killed at any moment: nothing that it acknowledged is lost, and its past never changes."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from glasshouse_attestations.keys import SigningKey
from glasshouse_log import VerifiedCheckpoint, check_continues, verify_entry
from glasshouse_log.client import LogClient
from glasshouse_log.proof import Proof
from support.log_service import LocalLog, envelope, run_local_log

APPENDS = 200
KILLS = 5
WORKERS = 4


@dataclass
class Appends:
    """Entries that workers add as they are let, and the proofs that they got."""

    log: LocalLog
    entries: list[bytes]
    proofs: dict[bytes, bytes] = field(default_factory=dict)
    allowed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def work(self, part: int) -> None:
        """Add every fourth entry, asking again for as long as the server is down."""
        with LogClient(
            self.log.url, self.log.policy, attempts=1000, retry_delay=0.02, max_retry_delay=0.1
        ) as client:
            for entry in self.entries[part::WORKERS]:
                self.allowed.acquire()
                self.proofs[entry] = client.add(entry)

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.proofs) < count:
            assert time.monotonic() < deadline, "the log makes no progress"
            time.sleep(0.002)


def test_every_acknowledged_entry_survives_kill_minus_nine_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(20300102)
    signer = SigningKey.generate()
    with run_local_log(tmp_path) as log:
        appends = Appends(log, [envelope(b"append %d" % number, signer) for number in range(APPENDS)])
        workers = [threading.Thread(target=appends.work, args=(part,)) for part in range(WORKERS)]
        for worker in workers:
            worker.start()
        seen: list[VerifiedCheckpoint] = []
        interrupted = 0
        for number in range(1, KILLS + 1):
            appends.allowed.release(APPENDS // KILLS)
            appends.wait_for(number * APPENDS // KILLS - rng.randrange(3, 20))
            time.sleep(rng.random() * 0.1)
            log.server.kill()
            acknowledged = dict(appends.proofs)
            interrupted += len(acknowledged) < number * APPENDS // KILLS
            log.server.start()
            with log.client() as client:
                seen.append(client.checkpoint())
                entries = list(client.entries(0, seen[-1]))
                assert all(entries[Proof.parse(p).index] == e for e, p in acknowledged.items())
        for worker in workers:
            worker.join(60)
        assert interrupted > KILLS // 2, "the kills came when nothing happened"
        check_whole_log(appends, seen)


def check_whole_log(appends: Appends, seen: list[VerifiedCheckpoint]) -> None:
    """Check every proof that was given, old and new, and that each checkpoint continues those before."""
    assert len(appends.proofs) == APPENDS
    with appends.log.client() as client:
        last = client.checkpoint()
        assert last.size == APPENDS, "an entry that was offered again was added twice"
        entries = list(client.entries(0, last))
        assert sorted(entries) == sorted(appends.entries)
        bundle = client.build_bundle(entries[:40])
        now = datetime.now(timezone.utc)
        for entry, proof in appends.proofs.items():
            outcome = verify_entry(entry, proof, client.policy, now=now)
            assert entries[outcome.index] == entry
            seen.append(outcome.checkpoint)
        for item in bundle.entries:
            assert verify_entry(item.envelope, item.proof, client.policy, now=now).checkpoint.raw == last.raw
        reader = {item.size: item.hashes for item in bundle.consistency} | {APPENDS: ()}
        for checkpoint in seen:
            check_continues(checkpoint.raw, last, reader.get(checkpoint.size, ()))
