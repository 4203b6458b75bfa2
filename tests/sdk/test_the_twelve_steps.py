"""Each step of the verification refuses by its own class, and the verdict says where it ended."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from glasshouse import (
    Attestation,
    Channel,
    GlasshouseError,
    Outcome,
    Policy,
    ProductionPolicy,
    Remembered,
    Status,
    Step,
    UnavailableError,
    Verdict,
    VerifiedServer,
    _quote,
    errors,
    verify_attestation,
)
from glasshouse._policy import LIMITS
from glasshouse_attestations import audit
from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.dsse import Envelope
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.reference_values import ReferenceValues
from glasshouse_attestations.release import Source
from glasshouse_log import Note, Proof
from glasshouse_log.errors import DuplicateSignatureError
from glasshouse_log.note import KeyType, NoteSigner
from support.chain import CHANNEL, COMMIT, NOW, SOURCE, Chain, cosigned_note, sign

TPM = f'[platforms.tpm]\nroot_sha256 = ["{"ab" * 32}"]\n'


def verify(
    chain: Chain,
    attestation: Attestation | None = None,
    *,
    policy: Policy | None = None,
    channel: Channel = CHANNEL,
    remembered: Remembered | None = None,
) -> VerifiedServer:
    return verify_attestation(
        chain.attestation() if attestation is None else attestation,
        chain.policy() if policy is None else policy,
        channel=channel,
        remembered=Remembered() if remembered is None else remembered,
        now=chain.now,
    )


def refusal(
    step: Step, error: type[GlasshouseError], check: Callable[[], VerifiedServer], match: str | None = None
) -> Verdict:
    """The verdict of a verification that must end at ``step`` with exactly ``error``."""
    with pytest.raises(error, match=match) as caught:
        check()
    assert caught.type is error
    verdict = caught.value.verdict
    assert isinstance(verdict, Verdict)
    is_open = issubclass(error, UnavailableError)
    assert verdict.outcome is (Outcome.UNAVAILABLE if is_open else Outcome.REFUSED)
    expected = Status.NOT_CHECKED if is_open else Status.FAIL
    assert (verdict[step].status, step) == (expected, step)
    assert type(caught.value).__name__ in verdict[step].detail
    later = [each for each in verdict.steps if each.step.number > step.number]
    assert {each.status for each in later} <= {Status.NOT_CHECKED}
    return verdict


def test_an_honest_server_passes_every_step() -> None:
    verdict = verify(Chain()).verdict
    assert verdict.outcome is Outcome.VERIFIED
    assert [each.status for each in verdict.steps] == [Status.PASS] * 12
    assert dict(verdict.facts)["platform"] == "simulated"


class TestStep1:
    @pytest.mark.parametrize("part", ["evidence", "bundle", "receipt_public_key", "configuration"])
    @pytest.mark.parametrize("content", [b"{}", b"[", b"\xff", b"x" * (5 << 20)])
    def test_what_is_not_in_its_format_is_refused(self, part: str, content: bytes) -> None:
        chain = Chain()
        refusal(
            Step.FORMATS,
            errors.MalformedError,
            lambda: verify(chain, chain.attestation(**{part: content})),
        )

    def test_a_server_without_a_bundle_cannot_be_checked(self) -> None:
        chain = Chain()
        refusal(
            Step.FORMATS,
            errors.BundleMissingError,
            lambda: verify(chain, chain.attestation(bundle=b"")),
        )

    def test_a_statement_of_an_unknown_kind_is_refused(self) -> None:
        chain = Chain()
        for kind in (
            "https://glasshouse.invalid/attestations/release/v2",
            "https://glasshouse.invalid/attestations/release/v1/",
        ):
            unknown = sign(replace(chain.release().to_statement(), predicate_type=kind), *chain.maintainers)
            bundle = chain.bundle([*chain.statements(), unknown])
            refusal(
                Step.FORMATS,
                errors.MalformedError,
                partial(verify, chain, chain.attestation(bundle=bundle.encode())),
            )

    def test_a_bundle_whose_proofs_lead_to_different_checkpoints_is_refused(self) -> None:
        chain = Chain()
        bundle = chain.bundle()
        later = cosigned_note(chain.log.checkpoint(), chain.log.signer, [])
        other = replace(bundle.entries[0], proof=chain.proof(bundle.entries[0].envelope, later))
        mixed = replace(bundle, entries=(other, *bundle.entries[1:]))
        refusal(
            Step.FORMATS,
            errors.MalformedError,
            lambda: verify(chain, chain.attestation(bundle=mixed.encode())),
        )

    def test_a_promise_instead_of_a_proof_is_refused(self) -> None:
        chain = Chain()
        bundle = chain.bundle()
        for promise in (chain.note(), b"c2sp.org/tlog-proof@v1\n\n" + chain.note(), b"will be logged"):
            entries = tuple(replace(entry, proof=promise) for entry in bundle.entries)
            promised = replace(bundle, entries=entries).encode()
            with pytest.raises(errors.MalformedError) as caught:
                verify(chain, chain.attestation(bundle=promised))
            assert isinstance(caught.value.verdict, Verdict)
            assert caught.value.verdict[Step.FORMATS].status is Status.FAIL

    def test_envelopes_without_signatures_or_with_one_twice_are_refused(self) -> None:
        chain = Chain()
        good = Envelope.parse(chain.fixed[0])
        for signatures in ((), good.signatures * 2):
            odd = replace(good, signatures=signatures).encode()
            refusal(
                Step.FORMATS, errors.MalformedError, partial(verify_statements, chain, odd, *chain.fixed[1:])
            )


def verify_statements(chain: Chain, *statements: bytes, **others: Any) -> VerifiedServer:
    return verify(chain, chain.attestation(bundle=chain.bundle(list(statements)).encode()), **others)


class TestStep2:
    def test_a_release_by_somebody_else_is_refused(self) -> None:
        chain = Chain()
        stranger = sign(chain.release().to_statement(), SigningKey.generate())
        refusal(
            Step.RELEASE,
            errors.ReleaseError,
            lambda: verify_statements(chain, stranger, *chain.statements()[1:]),
        )

    def test_a_release_by_fewer_maintainers_than_the_threshold_is_refused(self) -> None:
        chain = Chain(maintainers=(SigningKey.generate(), SigningKey.generate()))
        lonely = sign(chain.release().to_statement(), chain.maintainers[0])
        refusal(
            Step.RELEASE,
            errors.ReleaseError,
            lambda: verify_statements(
                chain, lonely, *chain.statements()[1:], policy=chain.policy(threshold=2)
            ),
        )

    def test_a_broken_signature_that_names_a_maintainer_is_refused(self) -> None:
        chain = Chain()
        good = Envelope.parse(chain.signed_release())
        broken = replace(good, signatures=(replace(good.signatures[0], signature=bytes(64)),)).encode()
        refusal(
            Step.RELEASE,
            errors.ReleaseError,
            lambda: verify_statements(chain, broken, *chain.statements()[1:]),
        )

    def test_an_auditors_key_does_not_sign_releases(self) -> None:
        chain = Chain()
        signed = sign(chain.release().to_statement(), chain.auditors["auditor-1"][0])
        refusal(Step.RELEASE, errors.ReleaseError, lambda: verify_statements(chain, signed))

    def test_no_release_and_two_releases_are_refused(self) -> None:
        chain = Chain()
        for releases in ([], [chain.signed_release(), chain.signed_release(version="1.2.4")]):
            refusal(
                Step.RELEASE,
                errors.ReleaseError,
                partial(verify_statements, chain, *releases, *chain.statements()[1:]),
            )

    def test_a_release_of_another_source_is_refused(self) -> None:
        chain = Chain()
        refusal(
            Step.RELEASE,
            errors.ReleaseError,
            lambda: verify(chain, policy=chain.policy(source="https://example.com/other")),
            match="source",
        )


class TestStep3:
    def test_one_audit_where_two_are_required_is_refused(self) -> None:
        chain = Chain()
        refusal(
            Step.AUDITS,
            errors.AuditError,
            lambda: verify_statements(chain, *chain.statements()[:2]),
            match="1 of the 2",
        )

    def test_one_organisation_counts_once_through_one_key_or_two(self) -> None:
        chain = Chain()
        first, second = chain.auditors["auditor-1"]
        audit = chain.audit().to_statement()
        later = chain.audit(time=chain.now).to_statement()
        pairs = (
            [sign(audit, first), sign(later, first)],
            [sign(audit, first), sign(audit, second)],
            [sign(audit, first, second)],
        )
        for pair in pairs:
            refusal(
                Step.AUDITS,
                errors.AuditError,
                partial(verify_statements, chain, chain.signed_release(), *pair),
            )

    def test_an_auditor_whom_the_policy_does_not_name_counts_for_nothing(self) -> None:
        chain = Chain()
        stranger = sign(chain.audit().to_statement(), SigningKey.generate())
        refusal(
            Step.AUDITS,
            errors.AuditError,
            lambda: verify_statements(chain, *chain.statements()[:2], stranger),
        )

    def test_a_maintainer_does_not_audit(self) -> None:
        chain = Chain()
        own = sign(chain.audit().to_statement(), *chain.maintainers)
        refusal(
            Step.AUDITS, errors.AuditError, lambda: verify_statements(chain, *chain.statements()[:2], own)
        )

    def test_a_broken_signature_that_names_an_auditor_is_refused(self) -> None:
        chain = Chain()
        good = Envelope.parse(chain.signed_audit("auditor-3"))
        broken = replace(good, signatures=(replace(good.signatures[0], signature=bytes(64)),)).encode()
        refusal(Step.AUDITS, errors.AuditError, lambda: verify_statements(chain, *chain.statements(), broken))

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"verdict": audit.Verdict.DIFFERS, "rebuilt_sha256": bytes(32)}, "built another image"),
            (
                {"verdict": audit.Verdict.FAILED, "rebuilt_sha256": None, "reference_values": None},
                "could not build",
            ),
            ({"source": Source(repository=SOURCE, commit=bytes(20))}, "another source"),
            ({"source": Source(repository="https://example.com/fork", commit=COMMIT)}, "another source"),
            (
                {
                    "reference_values": ReferenceValues(
                        platforms={"simulated": ({"image.sha256": bytes(32)},)}
                    )
                },
                "other reference values",
            ),
            ({"expires": NOW - timedelta(minutes=1)}, "expired"),
            ({"time": NOW + timedelta(minutes=1)}, "speaks from"),
        ],
        ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
    )
    def test_an_audit_that_says_something_else_does_not_count_and_is_told(
        self, change: dict[str, Any], told: str
    ) -> None:
        chain = Chain()
        odd = chain.signed_audit("auditor-2", **change)
        refusal(
            Step.AUDITS,
            errors.AuditError,
            lambda: verify_statements(chain, *chain.statements()[:2], odd),
            match=told,
        )
        # Where enough others agree, it is a warning.
        verified = verify_statements(chain, *chain.statements()[:2], odd, chain.signed_audit("auditor-3"))
        assert any(told in warning and "auditor-2" in warning for warning in verified.verdict.warnings)
        assert verified.trusted.auditors == ("auditor-1", "auditor-3")

    def test_an_audit_of_another_image_does_not_count(self) -> None:
        chain = Chain()
        other = chain.signed_audit("auditor-2", image_sha256=bytes(32), rebuilt_sha256=bytes(32))
        refusal(
            Step.AUDITS, errors.AuditError, lambda: verify_statements(chain, *chain.statements()[:2], other)
        )

    @pytest.mark.parametrize(("hours", "counts"), [(2, True), (0, False), (1, False)])
    def test_an_auditors_latest_word_counts_and_at_one_moment_the_negative_one(
        self, hours: int, counts: bool
    ) -> None:
        chain = Chain()
        negative = chain.signed_audit(
            "auditor-2",
            verdict=audit.Verdict.DIFFERS,
            rebuilt_sha256=bytes(32),
            time=chain.now - timedelta(hours=hours),
        )
        for statements in ([*chain.statements(), negative], [negative, *chain.statements()]):
            if counts:
                assert verify_statements(chain, *statements).trusted.auditors == ("auditor-1", "auditor-2")
            else:
                refusal(
                    Step.AUDITS,
                    errors.AuditError,
                    partial(verify_statements, chain, *statements),
                )

    def test_no_audit_is_required_only_where_a_development_policy_says_so_and_it_is_shown(self) -> None:
        chain = Chain()
        verdict = verify_statements(chain, chain.signed_release(), policy=chain.policy(required=0)).verdict
        assert verdict[Step.AUDITS].status is Status.NOT_CHECKED
        assert any("no audit" in item for item in verdict.unproven)


class TestStep4:
    def test_a_release_that_was_never_logged_is_refused(self) -> None:
        chain = Chain()
        other = chain.bundle([chain.signed_audit("auditor-1")])
        release = chain.signed_release()
        forged = replace(
            other,
            entries=tuple(replace(other.entries[0], envelope=s) for s in [release, *chain.statements()[1:]]),
        )
        refusal(
            Step.INCLUSION,
            errors.InclusionError,
            lambda: verify(chain, chain.attestation(bundle=forged.encode())),
        )

    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_the_proof_of_another_statement_is_refused(self, position: int) -> None:
        chain = Chain()
        bundle = chain.bundle()
        proofs = [entry.proof for entry in bundle.entries]
        entries = list(bundle.entries)
        entries[position] = replace(entries[position], proof=proofs[(position + 1) % 3])
        swapped = replace(bundle, entries=tuple(entries))
        refusal(
            Step.INCLUSION,
            errors.InclusionError,
            lambda: verify(chain, chain.attestation(bundle=swapped.encode())),
        )

    @pytest.mark.parametrize(
        "damage",
        [
            lambda proof: replace(proof, index=proof.index + 1),
            lambda proof: replace(proof, index=1000),
            lambda proof: replace(proof, hashes=proof.hashes[:-1]),
            lambda proof: replace(proof, hashes=(*proof.hashes, bytes(32))),
            lambda proof: replace(proof, hashes=(bytes(32), *proof.hashes[1:])),
        ],
    )
    def test_a_damaged_path_is_refused(self, damage: Callable[[Proof], Proof]) -> None:
        chain = Chain()
        bundle = chain.bundle()
        entry = bundle.entries[0]
        damaged = replace(entry, proof=damage(Proof.parse(entry.proof)).encode())
        broken = replace(bundle, entries=(damaged, *bundle.entries[1:]))
        refusal(
            Step.INCLUSION,
            errors.InclusionError,
            lambda: verify(chain, chain.attestation(bundle=broken.encode())),
        )


def verify_note(chain: Chain, note: bytes, **others: Any) -> VerifiedServer:
    """Verify an honest bundle whose proofs lead to ``note``."""
    return verify(chain, chain.attestation(bundle=chain.bundle(chain.fixed, note=note).encode()), **others)


@pytest.fixture
def logged() -> Chain:
    """A chain whose honest statements are in its log already."""
    chain = Chain()
    chain.bundle(chain.fixed)
    return chain


class TestStep5:
    def test_a_checkpoint_signed_by_another_key_under_the_logs_name_is_refused(self, logged: Chain) -> None:
        impostor = NoteSigner.generate(logged.log.signer.name, KeyType.ED25519)
        note = cosigned_note(logged.log.checkpoint(), impostor, [(w, NOW) for w in logged.witnesses])
        refusal(Step.LOG_SIGNATURE, errors.LogSignatureError, lambda: verify_note(logged, note))

    def test_another_logs_checkpoint_is_refused(self, logged: Chain) -> None:
        other = NoteSigner.generate("log.example/two", KeyType.ED25519)
        checkpoint = replace(logged.log.checkpoint(), origin="log.example/two")
        note = cosigned_note(checkpoint, other, [(w, NOW) for w in logged.witnesses])
        refusal(Step.LOG_SIGNATURE, errors.UnknownLogError, lambda: verify_note(logged, note))

    def test_a_checkpoint_without_the_logs_signature_is_refused(self, logged: Chain) -> None:
        note = Note.parse(logged.note())
        unsigned = replace(note, signatures=note.signatures[1:]).encode()
        refusal(Step.LOG_SIGNATURE, errors.LogSignatureError, lambda: verify_note(logged, unsigned))

    def test_two_signature_lines_under_the_logs_name_are_refused(self, logged: Chain) -> None:
        note = Note.parse(logged.note())
        twice = replace(note, signatures=(note.signatures[0], *note.signatures)).encode()
        refusal(Step.LOG_SIGNATURE, errors.LogSignatureError, lambda: verify_note(logged, twice))

    def test_a_broken_signature_of_the_log_is_refused(self, logged: Chain) -> None:
        note = Note.parse(logged.note())
        broken = replace(note.signatures[0], signature=bytes(64))
        forged = replace(note, signatures=(broken, *note.signatures[1:])).encode()
        refusal(Step.LOG_SIGNATURE, errors.NoteSignatureError, lambda: verify_note(logged, forged))


class TestStep6:
    def test_one_witness_where_two_are_needed_is_refused(self, logged: Chain) -> None:
        note = logged.note(cosigned_by=logged.witnesses[:1])
        refusal(Step.WITNESSES, errors.QuorumError, lambda: verify_note(logged, note))

    def test_unknown_witnesses_count_for_nothing(self, logged: Chain) -> None:
        strangers = [NoteSigner.generate(w.name, KeyType.COSIGNATURE_V1) for w in logged.witnesses]
        note = logged.note(cosigned_by=strangers)
        refusal(Step.WITNESSES, errors.QuorumError, lambda: verify_note(logged, note))

    def test_one_witness_that_signs_twice_is_refused(self, logged: Chain) -> None:
        note = logged.note(cosigned_by=(logged.witnesses[0], logged.witnesses[0]))
        refusal(Step.WITNESSES, DuplicateSignatureError, lambda: verify_note(logged, note))

    def test_a_witness_with_a_plain_key_type_does_not_count(self, logged: Chain) -> None:
        plain = replace(logged.witnesses[0], type=KeyType.ED25519)
        note = Note.parse(logged.note(cosigned_by=logged.witnesses[1:2]))
        confused = replace(note, signatures=(*note.signatures, plain.sign_text(note.text))).encode()
        refusal(Step.WITNESSES, errors.QuorumError, lambda: verify_note(logged, confused))

    def test_a_cosignature_from_the_future_is_refused(self, logged: Chain) -> None:
        note = logged.note(at=NOW + timedelta(minutes=6))
        refusal(Step.WITNESSES, errors.FutureCosignatureError, lambda: verify_note(logged, note))

    def test_a_broken_cosignature_is_refused(self, logged: Chain) -> None:
        note = Note.parse(logged.note())
        last = note.signatures[-1]
        flipped = replace(last, signature=last.signature[:-1] + bytes([last.signature[-1] ^ 1]))
        broken = replace(note, signatures=(*note.signatures[:-1], flipped)).encode()
        refusal(Step.WITNESSES, errors.NoteSignatureError, lambda: verify_note(logged, broken))

    def test_no_quorum_is_accepted_only_where_the_policy_says_so_and_it_is_shown(self, logged: Chain) -> None:
        verdict = verify_note(
            logged, logged.note(cosigned_by=()), policy=logged.policy(quorum="none", age=None)
        ).verdict
        assert verdict[Step.WITNESSES].status is Status.NOT_CHECKED
        assert verdict[Step.FRESHNESS].status is Status.NOT_CHECKED
        assert verdict.outcome is Outcome.VERIFIED
        assert any("no witness" in item for item in verdict.unproven)

    def test_a_quorum_of_one_is_shown(self, logged: Chain) -> None:
        verdict = verify_note(logged, logged.note(), policy=logged.policy(quorum="w1")).verdict
        assert any("one witness" in item for item in verdict.unproven)


class TestStep7:
    def test_a_checkpoint_past_its_age_is_refused(self, logged: Chain) -> None:
        note = logged.note(at=NOW - timedelta(hours=24, seconds=1))
        refusal(Step.FRESHNESS, errors.StaleCheckpointError, lambda: verify_note(logged, note))

    def test_a_checkpoint_at_its_age_is_accepted(self, logged: Chain) -> None:
        assert (
            verify_note(logged, logged.note(at=NOW - timedelta(hours=24))).verdict.outcome is Outcome.VERIFIED
        )

    def test_the_age_is_that_of_the_quorum_and_not_of_the_newest_cosignature(self, logged: Chain) -> None:
        old = NOW - timedelta(days=2)
        times = zip(logged.witnesses, [NOW, old, old], strict=True)
        note = cosigned_note(logged.log.checkpoint(), logged.log.signer, times)
        refusal(Step.FRESHNESS, errors.StaleCheckpointError, lambda: verify_note(logged, note))

    def test_a_larger_tree_that_continues_the_remembered_one_is_accepted(self, logged: Chain) -> None:
        remembered = remember(logged, logged.note())
        logged.log.append(b"another entry")
        verdict = verify_note(logged, logged.note(), remembered=remembered).verdict
        assert "continues the 3 entries" in verdict[Step.FRESHNESS].detail
        assert not any("first contact" in item for item in verdict.unproven)

    def test_first_contact_is_shown(self, logged: Chain) -> None:
        verdict = verify_note(logged, logged.note()).verdict
        assert "first contact" in verdict[Step.FRESHNESS].detail
        assert any("first contact" in item for item in verdict.unproven)

    def test_an_older_checkpoint_than_the_remembered_one_is_refused(self, logged: Chain) -> None:
        honest = logged.bundle(logged.fixed)
        logged.log.append(b"another entry")
        remembered = remember(logged, logged.note())
        refusal(
            Step.FRESHNESS,
            errors.RollbackError,
            lambda: verify(logged, logged.attestation(bundle=honest.encode()), remembered=remembered),
        )

    def test_another_root_for_the_same_size_is_refused_and_both_notes_are_kept(self, logged: Chain) -> None:
        forked = replace(logged.log.checkpoint(), root=bytes(32))
        old = cosigned_note(forked, logged.log.signer, [(w, NOW) for w in logged.witnesses])
        note = logged.note()
        with pytest.raises(errors.SplitViewError) as caught:
            verify_note(logged, note, remembered=remember(logged, old))
        assert (caught.value.remembered, caught.value.offered) == (old, note)
        refusal(
            Step.FRESHNESS,
            errors.SplitViewError,
            lambda: verify_note(logged, note, remembered=remember(logged, old)),
        )

    def test_a_larger_tree_without_a_proof_cannot_be_checked(self, logged: Chain) -> None:
        remembered = remember(logged, logged.note())
        logged.log.append(b"another entry")
        bundle = logged.bundle(logged.fixed, consistency=False)
        refusal(
            Step.FRESHNESS,
            errors.ConsistencyUnavailableError,
            lambda: verify(logged, logged.attestation(bundle=bundle.encode()), remembered=remembered),
        )

    def test_a_larger_tree_with_a_proof_that_does_not_hold_is_refused(self, logged: Chain) -> None:
        forked = replace(logged.log.checkpoint(), root=bytes(32))
        old = cosigned_note(forked, logged.log.signer, [(w, NOW) for w in logged.witnesses])
        logged.log.append(b"another entry")
        refusal(
            Step.FRESHNESS,
            errors.ConsistencyError,
            lambda: verify_note(logged, logged.note(), remembered=remember(logged, old)),
        )

    def test_what_another_log_key_signed_is_not_this_logs_memory(self, logged: Chain) -> None:
        other = NoteSigner.generate(logged.log.signer.name, KeyType.ED25519)
        note = cosigned_note(replace(logged.log.checkpoint(), size=99), other, [])
        remembered = Remembered(checkpoints={other.verifier_key.encode(): note})
        assert (
            "first contact"
            in verify_note(logged, logged.note(), remembered=remembered).verdict[Step.FRESHNESS].detail
        )


def remember(chain: Chain, note: bytes, *revocations: bytes) -> Remembered:
    return Remembered(checkpoints={chain.log.signer.verifier_key.encode(): note}, revocations=revocations)


class TestStep8:
    def test_a_revocation_by_the_maintainers_beats_every_valid_signature(self) -> None:
        chain = Chain()
        revoked = sign(chain.revocation().to_statement(), *chain.maintainers)
        with pytest.raises(errors.RevokedError) as caught:
            verify_statements(chain, *chain.statements(), revoked)
        assert caught.value.revocations == (revoked,)
        refusal(
            Step.REVOCATION,
            errors.RevokedError,
            lambda: verify_statements(chain, *chain.statements(), revoked),
            match="a key was lost",
        )

    @pytest.mark.parametrize("together", [True, False])
    def test_a_revocation_by_enough_auditors_counts_in_one_envelope_or_several(self, together: bool) -> None:
        chain = Chain()
        keys = [chain.auditors["auditor-1"][0], chain.auditors["auditor-3"][0]]
        statement = chain.revocation().to_statement()
        revoked = [sign(statement, *keys)] if together else [sign(statement, key) for key in keys]
        refusal(
            Step.REVOCATION,
            errors.RevokedError,
            lambda: verify_statements(chain, *chain.statements(), *revoked),
        )

    def test_a_revocation_by_too_few_does_not_count(self) -> None:
        chain = Chain()
        one_organisation = sign(chain.revocation().to_statement(), *chain.auditors["auditor-1"])
        stranger = sign(chain.revocation().to_statement(), SigningKey.generate())
        verified = verify_statements(chain, *chain.statements(), one_organisation, stranger)
        assert verified.verdict.outcome is Outcome.VERIFIED
        assert verified.trusted.revocations == ()

    def test_a_revocation_of_another_image_is_remembered_and_not_held_against_this_one(self) -> None:
        chain = Chain()
        other = sign(chain.revocation(bytes(32)).to_statement(), *chain.maintainers)
        assert verify_statements(chain, *chain.statements(), other).trusted.revocations == (other,)

    def test_a_revocation_that_the_server_leaves_out_but_the_client_remembers_counts(self) -> None:
        chain = Chain()
        revoked = sign(chain.revocation().to_statement(), *chain.maintainers)
        refusal(
            Step.REVOCATION,
            errors.RevokedError,
            lambda: verify(chain, remembered=Remembered(revocations=(revoked,))),
        )

    def test_a_broken_signature_below_a_revocation_is_refused(self) -> None:
        chain = Chain()
        good = Envelope.parse(sign(chain.revocation().to_statement(), *chain.maintainers))
        broken = replace(good, signatures=(replace(good.signatures[0], signature=bytes(64)),)).encode()
        refusal(
            Step.REVOCATION,
            errors.SignatureError,
            lambda: verify_statements(chain, *chain.statements(), broken),
        )

    @pytest.mark.parametrize(
        "change", [{"not_before": NOW + timedelta(seconds=1)}, {"not_after": NOW - timedelta(seconds=1)}]
    )
    def test_a_release_outside_its_validity_is_refused(self, change: dict[str, Any]) -> None:
        chain = Chain()
        odd = [chain.signed_release(**change), *chain.statements()[1:]]
        refusal(Step.REVOCATION, errors.ValidityError, lambda: verify_statements(chain, *odd))


class TestStep9:
    def test_a_quote_by_another_launcher_is_refused(self) -> None:
        chain = Chain()
        evidence = chain.evidence(launcher=SigningKey.generate())
        refusal(
            Step.QUOTE,
            errors.EvidenceSignatureError,
            lambda: verify(chain, chain.attestation(evidence=evidence)),
        )

    def test_simulated_evidence_is_refused_by_every_production_policy(self) -> None:
        chain = Chain()
        policy = chain.policy(kind="production", platforms=TPM + "[platforms.snp]\n")
        refusal(Step.QUOTE, errors.PlatformNotAllowedError, lambda: verify(chain, policy=policy))

    def test_simulated_evidence_is_refused_by_a_development_policy_without_launchers(self) -> None:
        chain = Chain()
        policy = chain.policy(platforms=TPM)
        refusal(Step.QUOTE, errors.PlatformNotAllowedError, lambda: verify(chain, policy=policy))

    @pytest.mark.parametrize("kind", ["development", "production"])
    @pytest.mark.parametrize("platform", ["snp", "tdx", "sgx", "nitro"])
    def test_what_is_no_quote_of_its_platform_is_refused(self, kind: str, platform: str) -> None:
        chain = Chain()
        evidence = Evidence(platform=platform, quote=b"a quote").encode()
        policy = chain.policy(kind=kind, platforms=f"[platforms.{platform}]\n")
        refusal(
            Step.QUOTE,
            errors.MalformedError,
            lambda: verify(chain, chain.attestation(evidence=evidence), policy=policy),
        )

    def test_a_platform_that_the_policy_does_not_name_is_refused(self) -> None:
        chain = Chain()
        evidence = Evidence(platform="snp", quote=b"a quote").encode()
        refusal(
            Step.QUOTE,
            errors.PlatformNotAllowedError,
            lambda: verify(chain, chain.attestation(evidence=evidence)),
        )


class TestStep10:
    def test_an_image_with_another_measurement_is_refused(self) -> None:
        chain = Chain()
        evidence = chain.evidence(image=b"the imagE")
        refusal(
            Step.MEASUREMENT,
            errors.MeasurementMismatchError,
            lambda: verify(chain, chain.attestation(evidence=evidence)),
        )

    @pytest.mark.parametrize(
        "platforms",
        [
            {"tpm": ({"pcr4.sha256": bytes(32)},)},
            {"simulated": ({"image.sha256": hashlib.sha256(b"the image").digest()},)},
        ],
        ids=["none for this platform", "one register fewer"],
    )
    def test_reference_values_that_do_not_cover_the_evidence_are_refused(
        self, platforms: dict[str, Any]
    ) -> None:
        chain = Chain()
        values = ReferenceValues(platforms=platforms)
        statements = [
            chain.signed_release(reference_values=values),
            chain.signed_audit("auditor-1", reference_values=values),
            chain.signed_audit("auditor-2", reference_values=values),
        ]
        refusal(
            Step.MEASUREMENT, errors.MeasurementMismatchError, lambda: verify_statements(chain, *statements)
        )


class TestStep11:
    @pytest.mark.parametrize(
        "other",
        [
            Channel(nonce=bytes(32), tls_spki_sha256=CHANNEL.tls_spki_sha256),
            Channel(nonce=CHANNEL.nonce, tls_spki_sha256=bytes(32)),
            Channel(nonce=CHANNEL.tls_spki_sha256, tls_spki_sha256=CHANNEL.nonce),
        ],
        ids=["another nonce", "another TLS key", "slots confused"],
    )
    def test_a_quote_for_another_channel_is_refused(self, other: Channel) -> None:
        chain = Chain()
        refusal(Step.CHANNEL, errors.ReportDataMismatchError, lambda: verify(chain, channel=other))

    def test_a_quote_for_another_receipt_key_is_refused(self) -> None:
        chain = Chain()
        shown = chain.attestation(receipt_public_key=Chain().receipt_public_key)
        refusal(Step.CHANNEL, errors.ReportDataMismatchError, lambda: verify(chain, shown))

    def test_a_quote_for_another_configuration_is_refused(self) -> None:
        chain = Chain()
        shown = chain.attestation(configuration=RuntimeConfiguration(max_models=1).encode())
        refusal(Step.CHANNEL, errors.ReportDataMismatchError, lambda: verify(chain, shown))


class TestStep12:
    @pytest.mark.parametrize("name", LIMITS)
    def test_a_configuration_above_the_policys_maximum_is_refused(self, name: str) -> None:
        chain = Chain()
        value = getattr(RuntimeConfiguration(), name)
        policy = chain.policy(extra=f"[configuration]\n{name} = {value - 1}\n")
        refusal(
            Step.CONFIGURATION,
            errors.ConfigurationRefusedError,
            lambda: verify(chain, policy=policy),
            match=name,
        )
        accepted = chain.policy(extra=f"[configuration]\n{name} = {value}\n")
        assert verify(chain, policy=accepted).verdict.outcome is Outcome.VERIFIED


def test_nothing_that_a_production_policy_reaches_knows_simulated_evidence() -> None:
    code = inspect.getsource(_quote.verify_hardware_quote)
    assert "simulated" not in code.split('"""')[2]
    assert not any("launcher" in each.name for each in fields(ProductionPolicy))
    policy = production_policy()
    with pytest.raises(ValueError, match="simulated"):
        replace(policy, platforms={"simulated": policy.platforms["tpm"]})


def production_policy() -> ProductionPolicy:
    policy = Chain().policy(kind="production", platforms=TPM)
    assert isinstance(policy, ProductionPolicy)
    return policy
