"""A published release in which one file is not what it was: each is noticed, by the check of that name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from glasshouse import Status
from glasshouse.errors import (
    AuditError,
    InclusionError,
    MalformedError,
    MeasurementMismatchError,
    QuorumError,
    StaleCheckpointError,
    UntrustedKeyError,
)
from glasshouse_attestations.audit import Audit, Verdict
from glasshouse_attestations.bundle import Bundle, LoggedStatement
from glasshouse_attestations.errors import GlasshouseError
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.release import Release
from glasshouse_audit.audit import Finding, environment, log_finding, refresh_bundle
from glasshouse_audit.errors import PublicationError, SourceError
from glasshouse_audit.publication import Publication, audit_name, write_audit
from glasshouse_audit.report import Report
from glasshouse_audit.verification import verify_publication
from glasshouse_log.local import LocalLog, run_local_log
from support.miniature import VERSION, People, make_repository, now, policy_of, release_of, written

PEOPLE = People.meet(auditors=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A release with the audits of two of three auditors, two required, and its image."""

    publication: Publication
    release: Release
    image: bytes
    log: LocalLog

    def verify(self, *, at: datetime | None = None, required: int = 2, **changes: object) -> Report:
        """Verify the release, in which some files are others."""
        changed = replace(self.publication, **changes)  # type: ignore[arg-type]
        return verify_publication(
            changed, policy_of(PEOPLE, self.log, required=required), now=at or now(), image=self.image
        )

    def write(self, folder: Path) -> Path:
        self.publication.write(folder)
        return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    folder = tmp_path_factory.mktemp("published")
    with run_local_log(folder / "log") as log, log.client() as client:
        released = release_of(make_repository(folder / "repository"), PEOPLE, log)
        written(released, folder / VERSION)
        for key in PEOPLE.auditors[:2]:
            finding = Finding(audit=audit_of(released.release), is_confirmed=True)
            log_finding(folder / VERSION, finding, key, client)
        yield Published(
            publication=Publication.read(folder / VERSION),
            release=released.release,
            image=released.image,
            log=log,
        )


def audit_of(release: Release, verdict: Verdict = Verdict.REPRODUCED) -> Audit:
    failed, same = verdict is Verdict.FAILED, verdict is Verdict.REPRODUCED
    return Audit(
        image_sha256=release.image_sha256,
        verdict=verdict,
        source=release.source,
        rebuilt_sha256=None if failed else release.image_sha256 if same else bytes(32),
        reference_values=None if failed else release.reference_values,
        environment=environment(),
        time=release.not_before,
        expires=release.not_after,
    )


def failures(report: Report) -> dict[str, type[GlasshouseError]]:
    return {check.name: type(check.error) for check in report.checks if check.error is not None}


def test_an_unchanged_release_passes_every_check(published: Published) -> None:
    report = published.verify()
    assert {check.status for check in report.checks} == {Status.PASS}, report.to_table()
    assert report.exit_code == 0


def test_a_changed_release_statement(published: Published) -> None:
    other = replace(published.release, version="9.9.9").to_statement().sign(SigningKey.generate())
    forged = LoggedStatement(envelope=other.encode(), proof=published.publication.release.proof)
    found = failures(published.verify(release=forged))
    assert found["release statement"] is UntrustedKeyError
    assert found["log has the release"] is InclusionError
    assert found["bundle"] is PublicationError


def test_a_signed_release_that_was_never_logged(published: Published) -> None:
    other = replace(published.release, version="9.9.9").to_statement().sign(PEOPLE.maintainer)
    unlogged = LoggedStatement(envelope=other.encode(), proof=published.publication.release.proof)
    found = failures(published.verify(release=unlogged))
    assert found["log has the release"] is InclusionError


def test_a_release_of_another_source(published: Published) -> None:
    source = replace(published.release.source, repository="https://example.org/elsewhere")
    other = replace(published.release, source=source).to_statement().sign(PEOPLE.maintainer).encode()
    with published.log.client() as client:
        logged = LoggedStatement(envelope=other, proof=client.add(other))
    assert failures(published.verify(release=logged))["release statement"] is PublicationError


def test_a_provenance_that_somebody_else_signed(published: Published) -> None:
    other = published.release.to_statement().sign(SigningKey.generate()).encode()
    forged = LoggedStatement(envelope=other, proof=published.publication.provenance.proof)
    found = failures(published.verify(provenance=forged))
    assert found == {"provenance": UntrustedKeyError, "log has the provenance": InclusionError}


def test_a_provenance_that_is_none(published: Published) -> None:
    found = failures(published.verify(provenance=published.publication.release))
    assert found == {"provenance": MalformedError}


def test_a_changed_bill_of_materials(published: Published) -> None:
    changed = published.publication.sbom.replace(b"trixie", b"sid", 1)
    assert failures(published.verify(sbom=changed)) == {"bill of materials": PublicationError}


def test_changed_measurements(published: Published) -> None:
    measurements = Measurements.parse(published.publication.measurements)
    changed = replace(measurements, size=measurements.size + 1).encode()
    assert failures(published.verify(measurements=changed)) == {"provenance": PublicationError}


def test_measurements_of_another_image(published: Published) -> None:
    measurements = Measurements.parse(published.publication.measurements)
    changed = replace(measurements, sha256=bytes(32)).encode()
    found = failures(published.verify(measurements=changed))
    assert found == {"provenance": PublicationError, "measurements": PublicationError}


def test_measurements_that_are_none(published: Published) -> None:
    assert failures(published.verify(measurements=b"{}\n"))["measurements"] is MalformedError


def test_audits_under_each_others_names(published: Published) -> None:
    first, second = sorted(published.publication.audits)
    audits = published.publication.audits
    found = failures(published.verify(audits={first: audits[second], second: audits[first]}))
    assert found == {f"audit {first}": PublicationError, f"audit {second}": PublicationError}


def test_an_audit_without_its_proof(published: Published) -> None:
    name, audit = next(iter(published.publication.audits.items()))
    changed = {
        **published.publication.audits,
        name: replace(audit, proof=published.publication.release.proof),
    }
    assert failures(published.verify(audits=changed)) == {f"log has audit {name}": InclusionError}


def test_an_audit_less_than_the_bundle_has(published: Published) -> None:
    name, audit = next(iter(published.publication.audits.items()))
    assert failures(published.verify(audits={name: audit})) == {"bundle": PublicationError}


def test_fewer_audits_than_the_policy_requires(published: Published) -> None:
    report = published.verify(required=3)
    assert failures(report) == {"client": AuditError}
    statuses = {check.name: check.status for check in report.checks}
    assert statuses["client, step 3: audits"] is Status.FAIL
    assert statuses["client, step 4: inclusion"] is Status.NOT_CHECKED


@pytest.mark.parametrize("verdict", [Verdict.DIFFERS, Verdict.FAILED], ids=lambda verdict: verdict.value)
def test_a_negative_audit_is_stapled_and_takes_its_organisation_away(
    published: Published, tmp_path: Path, verdict: Verdict
) -> None:
    folder = published.write(tmp_path / VERSION)
    with published.log.client() as client:
        finding = Finding(audit=audit_of(published.release, verdict), is_confirmed=False)
        log_finding(folder, finding, PEOPLE.auditors[0], client)
    report = replace(published, publication=Publication.read(folder)).verify()
    assert failures(report) == {"client": AuditError}


def test_an_auditor_whom_the_policy_does_not_know_counts_for_nothing(
    published: Published, tmp_path: Path
) -> None:
    folder = published.write(tmp_path / VERSION)
    with published.log.client() as client:
        finding = Finding(audit=audit_of(published.release), is_confirmed=True)
        log_finding(folder, finding, SigningKey.generate(), client)
    assert failures(replace(published, publication=Publication.read(folder)).verify(required=3)) == {
        "client": AuditError
    }


def test_an_audit_of_another_commit_counts_for_nothing(published: Published, tmp_path: Path) -> None:
    folder = published.write(tmp_path / VERSION)
    source = replace(published.release.source, commit=bytes(20))
    with published.log.client() as client:
        finding = Finding(audit=replace(audit_of(published.release), source=source), is_confirmed=True)
        log_finding(folder, finding, PEOPLE.auditors[2], client)
    report = replace(published, publication=Publication.read(folder)).verify(required=3)
    assert failures(report) == {"client": AuditError}


def test_a_bundle_that_is_none(published: Published) -> None:
    found = failures(published.verify(bundle=b"{}"))
    assert found == {"bundle": MalformedError, "client": MalformedError}


def test_a_bundle_without_cosignatures(published: Published) -> None:
    bundle = Bundle.parse(published.publication.bundle)
    bare = replace(
        bundle, entries=tuple(replace(each, proof=without_witnesses(each.proof)) for each in bundle.entries)
    )
    assert failures(published.verify(bundle=bare.encode())) == {"client": QuorumError}


def test_a_bundle_that_nobody_renewed(published: Published) -> None:
    assert failures(published.verify(at=now() + timedelta(days=2))) == {"client": StaleCheckpointError}


def test_audits_after_their_time_count_for_nothing(published: Published) -> None:
    late = published.release.not_after + timedelta(days=1)
    assert failures(published.verify(at=late)) == {"client": AuditError}


def test_an_image_with_one_changed_byte(published: Published) -> None:
    image = published.image[:-1] + bytes([published.image[-1] ^ 1])
    assert failures(replace(published, image=image).verify()) == {"image": MeasurementMismatchError}


def without_witnesses(proof: bytes) -> bytes:
    """The same proof with the log's own signature alone."""
    before, _, signatures = proof.rpartition(b"\n\n")
    own = [line for line in signatures.splitlines(keepends=True) if b"witness" not in line]
    return before + b"\n\n" + b"".join(own)


FILES: dict[str, type[GlasshouseError]] = {
    "release.dsse.json": MalformedError,
    "release.tlog-proof": MalformedError,
    "provenance.dsse.json": MalformedError,
    "provenance.tlog-proof": MalformedError,
    "sbom.cdx.json": PublicationError,
    "measurements.json": MalformedError,
    "bundle.json": MalformedError,
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_byte_after_the_end_of_a_file(published: Published, tmp_path: Path, name: str) -> None:
    folder = published.write(tmp_path / VERSION)
    with (folder / name).open("ab") as file:
        file.write(b" ")
    found = failures(replace(published, publication=Publication.read(folder)).verify())
    assert any(issubclass(error, FILES[name]) for error in found.values()), found


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(published: Published, tmp_path: Path, name: str) -> None:
    folder = published.write(tmp_path / VERSION)
    (folder / name).unlink()
    with pytest.raises(PublicationError, match=name):
        Publication.read(folder)


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("x"), lambda path: path.mkdir()], ids=["file", "folder"]
)
def test_what_is_no_part_of_a_release_is_named(
    published: Published, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    folder = published.write(tmp_path / VERSION)
    make(folder / "extra")
    with pytest.raises(PublicationError, match="extra"):
        Publication.read(folder)


@pytest.mark.parametrize("name", ["0123.dsse.json", "0123456789ABCDEF.dsse.json", "note.txt"])
def test_audits_have_the_names_of_keys(published: Published, tmp_path: Path, name: str) -> None:
    folder = published.write(tmp_path / VERSION)
    (folder / "audits" / name).write_bytes(b"{}")
    with pytest.raises(PublicationError):
        Publication.read(folder)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        Publication.read(tmp_path / "nowhere")


def test_a_release_without_audits_needs_no_folder_for_them(published: Published, tmp_path: Path) -> None:
    replace(published.publication, audits={}).write(tmp_path / VERSION)
    (tmp_path / VERSION / "audits").rmdir()
    assert Publication.read(tmp_path / VERSION).audits == {}


def test_audits_that_others_send_are_stapled_by_renewing_the_bundle(
    published: Published, tmp_path: Path
) -> None:
    folder = published.write(tmp_path / VERSION)
    key = PEOPLE.auditors[2]
    envelope = audit_of(published.release).to_statement().sign(key).encode()
    with published.log.client() as client:
        write_audit(folder, key.public_key, LoggedStatement(envelope=envelope, proof=client.add(envelope)))
        refresh_bundle(folder, client)
    publication = Publication.read(folder)
    assert audit_name(key.public_key) in publication.audits
    assert replace(published, publication=publication).verify(required=3).exit_code == 0


def test_the_report_says_the_same_to_people_and_to_machines(published: Published) -> None:
    report = published.verify(sbom=b"{}")
    document = json.loads(json.dumps(report.to_json()))
    assert document["outcome"] == "refused" == report.to_table().splitlines()[-1]
    assert report.exit_code == 1
    assert [each["name"] for each in document["checks"]] == [check.name for check in report.checks]
