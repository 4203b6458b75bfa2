"""``glasshouse collateral fetch`` against a service on this machine that has the captured collateral."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent_encoded

import pytest

from glasshouse.cli import main
from glasshouse_attestations.dcap import Collateral
from support.dcap_captures import capture_of
from support.vectors import needs_vectors

pytestmark = needs_vectors

TDX = ("tdx/flashbots/gcp-tdx-1782809233226668671", "flashbots_gcp-tdx-collateral-1782809233226668671")
SGX = ("sgx/dcapqvl/sgx_quote.bin", "dcapqvl_sgx")
TIMES = {TDX: "2026-06-30T08:13:19Z", SGX: "2025-06-19T10:57:11Z"}
_CHAINS = {
    "tcb": "TCB-Info-Issuer-Chain",
    "identity": "SGX-Enclave-Identity-Issuer-Chain",
    "pckcrl": "SGX-PCK-CRL-Issuer-Chain",
}


@dataclass
class Service:
    """What a caching service of Intel's answers, by the last part of the path; tests change the answers."""

    answers: dict[str, tuple[int, bytes, dict[str, str]]]
    asked: list[str] = field(default_factory=list)
    url: str = ""


def service_of(collateral: Collateral) -> Service:
    info = b'{"tcbInfo":%s,"signature":"%s"}'
    identity = b'{"enclaveIdentity":%s,"signature":"%s"}'

    def headers(part: str, pem: bytes) -> dict[str, str]:
        return {_CHAINS[part]: percent_encoded(pem.decode("ascii"))}

    return Service(
        answers={
            "tcb": (
                200,
                info % (collateral.tcb_info, collateral.tcb_info_signature.hex().encode()),
                headers("tcb", collateral.tcb_info_issuer_chain),
            ),
            "identity": (
                200,
                identity % (collateral.qe_identity, collateral.qe_identity_signature.hex().encode()),
                headers("identity", collateral.qe_identity_issuer_chain),
            ),
            "pckcrl": (200, collateral.pck_crl, headers("pckcrl", collateral.pck_crl_issuer_chain)),
            "rootcacrl": (200, collateral.root_ca_crl.hex().encode(), {}),
        }
    )


@contextmanager
def served(service: Service) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.asked.append(self.path)
            part = self.path.partition("?")[0].rpartition("/")[2]
            status, body, headers = service.answers[part]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


def fetch(folder: Path, names: tuple[str, str], url: str, at: str | None = None) -> tuple[int, Path]:
    quote, output = folder / "quote", folder / "collateral.json"
    quote.write_bytes(capture_of(*names).quote)
    arguments = ["collateral", "fetch", str(quote), "--pccs", url, "--output", str(output)]
    return main([*arguments, "--at", at or TIMES[names], "--timeout", "5"]), output


@pytest.mark.parametrize("names", [TDX, SGX], ids=["tdx", "sgx"])
def test_what_is_fetched_is_what_the_quote_is_verified_with(
    names: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captured = Collateral.parse(capture_of(*names).collateral)
    with served(service_of(captured)) as service:
        code, output = fetch(tmp_path, names, service.url)
    assert (code, capsys.readouterr().err) == (0, "")
    assert Collateral.parse(output.read_bytes()) == captured
    kind = "tdx" if names is TDX else "sgx"
    assert service.asked[0].startswith(f"/{kind}/certification/v4/tcb?fmspc=")
    assert service.asked[1] == f"/{kind}/certification/v4/qe/identity"
    assert service.asked[2].startswith("/sgx/certification/v4/pckcrl?ca=p")
    assert service.asked[3] == "/sgx/certification/v4/rootcacrl"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_fetched_file_verifies_its_quote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(service_of(Collateral.parse(capture_of(*TDX).collateral))) as service:
        _, output = fetch(tmp_path, TDX, service.url)
    rules = tmp_path / "tdx.toml"
    rules.write_text("")
    given = ("--endorsement", f"collateral={output}", "--at", TIMES[TDX])
    code = main(["evidence", "verify", str(tmp_path / "quote"), "--platform-policy", str(rules), *given])
    assert code == 0
    assert capsys.readouterr().out.splitlines()[-1] == "verified"


def _flip(body: bytes) -> bytes:
    at = len(body) // 2
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def _change(part: str, change: Callable[[bytes], bytes]) -> Callable[[Service], None]:
    def apply(service: Service) -> None:
        status, body, headers = service.answers[part]
        service.answers[part] = (status, change(body), headers)

    return apply


def _answer(part: str, *answer: Any) -> Callable[[Service], None]:
    return lambda service: service.answers.__setitem__(part, answer)


BROKEN: dict[str, tuple[Callable[[Service], None], int]] = {
    "TCB info changed": (_change("tcb", lambda body: body.replace(b'"svn":', b'"svn" :', 1)), 1),
    "a revocation list changed": (_change("pckcrl", _flip), 1),
    "the root's list changed": (_change("rootcacrl", lambda body: body.replace(b"0", b"1", 1)), 2),
    "the root's list is the other one": (
        lambda service: _answer("rootcacrl", *service.answers["pckcrl"])(service),
        1,
    ),
    "identity for TCB info": (lambda service: _answer("tcb", *service.answers["identity"])(service), 2),
    "no chain": (lambda service: _answer("tcb", 200, service.answers["tcb"][1], {})(service), 2),
    "not found": (_answer("identity", 404, b"", {}), 2),
    "empty": (_answer("identity", 200, b"", {}), 2),
    "no content": (_answer("identity", 204, b"", {}), 2),
    "too large": (_answer("identity", 200, bytes((64 << 10) + 1), {}), 2),
    "redirected": (_answer("identity", 302, b"", {"Location": "/tdx/certification/v4/qe/identity2"}), 2),
    "not ASCII": (_change("tcb", lambda body: body.replace(b"SGX", b"SG\xc3\xbc", 1)), 2),
    "another JSON": (_answer("tcb", 200, b"{}", {}), 2),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_what_does_not_verify_is_not_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, code = BROKEN[name]
    service = service_of(Collateral.parse(capture_of(*TDX).collateral))
    change(service)
    with served(service):
        found, output = fetch(tmp_path, TDX, service.url)
    out, err = capsys.readouterr()
    assert found == code
    assert err.startswith("glasshouse: ")
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["quote"]
    assert not output.exists()


def test_collateral_that_is_not_current_is_not_written(tmp_path: Path) -> None:
    with served(service_of(Collateral.parse(capture_of(*TDX).collateral))) as service:
        code, output = fetch(tmp_path, TDX, service.url, at="2026-11-23T00:00:00Z")
    assert code == 1
    assert not output.exists()


def test_collateral_of_another_processor_is_not_written(tmp_path: Path) -> None:
    other = capture_of("tdx/dcapqvl/tdx_quote", "dcapqvl_tdx")
    with served(service_of(Collateral.parse(other.collateral))) as service:
        code, output = fetch(tmp_path, SGX, service.url)
    assert code == 1
    assert not output.exists()


def test_a_service_on_this_machine_is_not_asked_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(service_of(Collateral.parse(capture_of(*TDX).collateral))) as gone:
        proxy = gone.url
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    with served(service_of(Collateral.parse(capture_of(*TDX).collateral))) as service:
        code, _ = fetch(tmp_path, TDX, service.url)
    assert (code, len(service.asked)) == (0, 4)


def test_a_file_that_was_there_survives_a_failure(tmp_path: Path) -> None:
    (tmp_path / "collateral.json").write_text("before")
    service = service_of(Collateral.parse(capture_of(*TDX).collateral))
    BROKEN["not found"][0](service)
    with served(service):
        code, output = fetch(tmp_path, TDX, service.url)
    assert (code, output.read_text()) == (2, "before")


@pytest.mark.parametrize(
    "url",
    [
        "http://pccs.example",
        "http://127.0.0.1.example",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://",
        "pccs.example",
        "https://user@pccs.example",
        "https://pccs.example?x=1",
    ],
)
def test_a_url_that_is_neither_https_nor_this_machine_is_refused(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = fetch(tmp_path, TDX, url)
    assert code == 2
    assert "hint: write --pccs" in capsys.readouterr().err
    assert not output.exists()


def test_a_service_that_is_not_there_is_an_error_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(service_of(Collateral.parse(capture_of(*TDX).collateral))) as service:
        url = service.url
    code, _ = fetch(tmp_path, TDX, url)
    assert code == 2
    assert "does not answer" in capsys.readouterr().err


def test_no_host_is_asked_unless_it_is_given() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["collateral", "fetch", "quote", "--output", "file"])
    assert stopped.value.code == 2
