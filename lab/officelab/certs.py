"""Certificates of the site: a public-looking CA (trusted by every device), the company's own CA and
self-signed ones. Made once per site and reused, so a name keeps its certificate over the days."""

import datetime as dt
import os
import random

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def _name(cn, org=None):
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, cn)]
    if org:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, org))
    return x509.Name(parts)


class Maker:
    """Writes `NAME.crt` and `NAME.key` into one folder."""

    def __init__(self, folder, site):
        self.folder, self.site = folder, site
        self.start = dt.datetime.fromtimestamp(site.epoch - 40 * 86400, dt.timezone.utc)
        self.ca = {}
        self.random = random.Random(f"serials:{site.seed}")

    def make_all(self):
        os.makedirs(self.folder, exist_ok=True)
        org = {"public": ("Meridian Trust Services", "Meridian TLS ECC CA 2"), "corp": (self.site.company.title(), f"{self.site.company} Issuing CA")}
        for kind, (o, cn) in org.items():
            key = ec.generate_private_key(ec.SECP256R1())
            cert = self._sign(_name(cn, o), key.public_key(), _name(cn, o), key, ca=True, days=3650)
            self.ca[kind] = (key, cert)
            self._write(f"ca-{kind}", cert)
        for name, kind in sorted(self.site.tls.items()):
            self.leaf(name, kind, rsa_key=self.random.random() < .3)
        app = self.site.by_name["app"]
        self.leaf("app", "self", cn=f"{app.hostname}.{self.site.domain}", rsa_key=True)
        self.leaf("mail", "corp", cn=f"mail.{self.site.domain}")
        self.leaf("tor", "self", cn=f"www.{self.random.getrandbits(60):x}.net", days=90)

    def leaf(self, name, kind, cn=None, rsa_key=False, days=397):
        cn = cn or name
        key = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        issuer_key, issuer = (key, None) if kind == "self" else self.ca[kind]
        cert = self._sign(_name(cn), key.public_key(), issuer.subject if issuer else _name(cn), issuer_key, days=days, dns=cn)
        self._write(name, cert, key)

    def _sign(self, subject, public, issuer, key, ca=False, days=397, dns=None):
        b = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
             .serial_number(self.random.getrandbits(120) | 1).not_valid_before(self.start)
             .not_valid_after(self.start + dt.timedelta(days=days + 2 * 365 if ca else days))
             .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
        if dns:
            b = b.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
            b = b.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        return b.sign(key, hashes.SHA256())

    def _write(self, name, cert, key=None):
        pem = cert.public_bytes(serialization.Encoding.PEM)
        with open(f"{self.folder}/{name}.crt", "wb") as f:
            f.write(pem)
        if key is not None:
            with open(f"{self.folder}/{name}.key", "wb") as f:
                f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                          serialization.NoEncryption()))
