"""Verifying one TPM quote with a policy, beside keylime, tpm2_checkquote and the bare signature check, in one run.

    /usr/bin/python3 -m venv --system-site-packages benchmarks/.venv
    benchmarks/.venv/bin/pip install -r requirements.lock -r benchmarks/requirements.txt
    PYTHONPATH=. benchmarks/.venv/bin/python benchmarks/attest.py [--rounds N] [--quotes N]

A quote over sha256:0-7,17,18 of a real swtpm, made by tpm2-tools; an allow-list of values for each of the ten PCRs; the
key is parsed once. Rounds are interleaved, medians compared: quote the ratios, never a single time.

    raw            cryptography's verify of the very signature: the limit
    vafw           signature, magic, type, signer, nonce, selection, values, allow-list
                   goal: 0.85 of raw (RSA), 0.88 (P-256)
    keylime        Tpm.check_quote with the same allow-list; goal: vafw 4 and 2.4 times as many
    tpm2_checkquote  a process a quote, no allow-list
    two processes  vafw in two processes at once; goal: 1.8 of one
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from vafw.attest.key import AttestationKey
from vafw.attest.pinned import PinnedQuotes
from vafw.tcg.algorithms import SHA256
from vafw.tcg.attest import QuoteAttest
from vafw.tcg.public import PublicArea
from vafw.tcg.selection import PcrSelection
from vafw.tcg.signature import Signature

PCRS = (0, 1, 2, 3, 4, 5, 6, 7, 17, 18)
NONCE = "0123456789abcdefghij"
LIST = f"sha256:{','.join(map(str, PCRS))}"


@dataclass(frozen=True)
class Quoted:
    """One quote, and all that its verifiers need."""

    folder: Path
    public: bytes
    quote: bytes
    signature: bytes
    values: dict[int, bytes]

    def judge(self) -> Callable[[], None]:
        """Our check."""
        told = QuoteAttest.decode(self.quote)
        allowed = {pcr: frozenset({value, bytes(32)}) for pcr, value in self.values.items()}
        selection = PcrSelection.of({SHA256: PCRS})
        pinned = PinnedQuotes(AttestationKey(self.public), selection, allowed, signer=told.qualified_signer)
        nonce = NONCE.encode()

        def check() -> None:
            if why := pinned.why_not(self.quote, self.signature, nonce, self.values):
                raise SystemExit(why)

        return check

    def raw(self) -> Callable[[], None]:
        """The signature, and nothing else."""
        key, value = PublicArea.decode(self.public).key, Signature.decode(self.signature).value
        digest = hashes.SHA256()
        if isinstance(key, ec.EllipticCurvePublicKey):
            scheme = ec.ECDSA(digest)
            return lambda: key.verify(value, self.quote, scheme)
        pkcs1 = padding.PKCS1v15()
        return lambda: key.verify(value, self.quote, pkcs1, digest)

    def checkquote(self) -> Callable[[], None]:
        """A process of tpm2-tools."""
        names = {"-u": "ak.pem", "-m": "quote.msg", "-s": "quote.sig", "-f": "quote.pcrs"}
        files = [part for option, name in names.items() for part in (option, str(self.folder / name))]
        command = ["tpm2_checkquote", *files, "-g", "sha256", "-q", NONCE.encode().hex()]
        return lambda: subprocess.run(command, check=True, capture_output=True) and None

    def keylime(self) -> Callable[[], None] | None:
        """Keylime's check, where it is installed."""
        try:
            from keylime.common.algorithms import Hash
            from keylime.mba import mba
            from keylime.tpm.tpm_main import Tpm
        except ImportError:
            return None
        logging.disable(logging.CRITICAL)
        mba.load_imports(skip_custom_policies=True)
        parts = ((self.folder / name).read_bytes() for name in ("quote.msg", "quote.sig", "quote.pcrs"))
        quote = "r" + ":".join(base64.b64encode(part).decode() for part in parts)
        ak = base64.b64encode((self.folder / "ak.pub").read_bytes()).decode()
        policy: Any = {str(pcr): [value.hex()] for pcr, value in self.values.items()}
        policy["mask"] = hex(sum(1 << pcr for pcr in PCRS))
        tpm = Tpm()

        def check() -> None:
            failed = tpm.check_quote(
                None,
                NONCE,
                None,
                quote,
                ak,
                policy,
                hash_alg=Hash.SHA256,
                skip_clock_check=True,
                skip_data_pcr_check=True,
            )
            if failed:
                raise SystemExit(f"keylime refuses: {[each.event_id for each in failed.events]}")

        return check


@contextmanager
def quotes() -> Iterator[dict[str, Quoted]]:
    """A quote of each kind of key, from one swtpm."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        socket = folder / "s"
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}", "--flags", "not-need-init,startup-clear"]
        command += ["--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not Path(f"{socket}.ctrl").exists():
                time.sleep(0.01)
            os.environ["TPM2TOOLS_TCTI"] = f"swtpm:path={socket}"
            yield {
                "RSA-2048": _quoted(folder / "rsa", "rsa", "rsassa"),
                "P-256": _quoted(folder / "ecc", "ecc", "ecdsa"),
            }
        finally:
            process.terminate()
            process.wait()


def _quoted(folder: Path, kind: str, scheme: str) -> Quoted:
    folder.mkdir()
    for command in (
        f"tpm2_createek -c ek.ctx -G {kind} -u ek.pub",
        "tpm2_flushcontext -t",
        f"tpm2_createak -C ek.ctx -c ak.ctx -G {kind} -g sha256 -s {scheme} -u ak.pub -n ak.name",
        "tpm2_flushcontext -t",
        "tpm2_flushcontext -l",
        "tpm2_flushcontext -s",
        "tpm2_readpublic -c ak.ctx -f pem -o ak.pem",
        f"tpm2_quote -c ak.ctx -l {LIST} -q {NONCE.encode().hex()} -g sha256 -m quote.msg -s quote.sig -o quote.pcrs",
        f"tpm2_pcrread {LIST} -o values",
        "tpm2_flushcontext -t",
    ):
        subprocess.run(command.split(), cwd=folder, check=False, capture_output=True)
    values = (folder / "values").read_bytes()
    held = {pcr: values[32 * at : 32 * at + 32] for at, pcr in enumerate(PCRS)}
    read = {name: (folder / name).read_bytes() for name in ("ak.pub", "quote.msg", "quote.sig")}
    return Quoted(folder, read["ak.pub"][2:], read["quote.msg"], read["quote.sig"], held)


def rate(work: Callable[[], None], count: int) -> float:
    """Calls a second."""
    began = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - began)


def interleaved(works: dict[str, Callable[[], None]], counts: dict[str, int], rounds: int) -> dict[str, float]:
    """Median calls a second of each, run in turn."""
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            rates[name].append(rate(work, counts[name]))
    return {name: statistics.median(found) for name, found in rates.items()}


def two_processes(quoted: Quoted, count: int) -> float:
    """Calls a second of two processes together."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(_work, [(quoted, 1)] * 2)
        began = time.perf_counter()
        pool.map(_work, [(quoted, count)] * 2, chunksize=1)
        return 2 * count / (time.perf_counter() - began)


def _work(job: tuple[Quoted, int]) -> None:
    quoted, count = job
    rate(quoted.judge(), count)


def report(kind: str, quoted: Quoted, rounds: int, count: int) -> dict[str, float]:
    """Print one line for each, and return the rates."""
    works: dict[str, Callable[[], None]] = {"raw": quoted.raw(), "vafw": quoted.judge()}
    if (peer := quoted.keylime()) is not None:
        works["keylime"] = peer
    works["tpm2_checkquote"] = quoted.checkquote()
    counts = dict.fromkeys(works, count) | {"tpm2_checkquote": max(1, count // 200)}
    rates = interleaved(works, counts, rounds)
    rates["two processes"] = two_processes(quoted, count)
    for name, found in rates.items():
        print(
            f"{kind:<10}{name:<18}{found:>10,.0f} /s{found / rates['raw']:>9.3f} of raw{rates['vafw'] / found:>9.2f} x"
        )
    if peer is None:
        print(f"{kind:<10}keylime is not installed here: see the head of this file")
    return rates


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quotes", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    missing = [name for name in ("swtpm", "tpm2_quote", "tpm2_checkquote") if shutil.which(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)} (Debian packages swtpm, tpm2-tools)", file=sys.stderr)
        raise SystemExit(0)
    print(f"{'key':<10}{'job':<18}{'quotes':>13}{'ratio':>16}{'vafw is':>11}")
    with quotes() as made:
        rates = {kind: report(kind, quoted, chosen.rounds, chosen.quotes) for kind, quoted in made.items()}
    if chosen.json:
        print(json.dumps(rates))


if __name__ == "__main__":
    main()
