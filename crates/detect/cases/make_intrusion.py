#!/usr/bin/env python3
"""Makes the event files of the intrusion detectors' cases with the generator of `make.py`:
`python3 make_intrusion.py [DETECTOR]`."""

import make
from make import case, main

make.CASES.clear()

DAY = 86_400.0


def login(c, at, client, server, service, user="", outcome="failure", port=None, **more):
    ports = {"ssh": 22, "rdp": 3389, "smb": 445, "krb": 88, "imap": 143, "ftp": 21, "mqtt": 1883}
    c.add(at, "login", client, server, port or ports[service], service=service, user=user, outcome=outcome,
          attempts=more.pop("attempts", 1), **more)


# ---------------------------------------------------------------- password_guessing

@case("password_guessing", "ssh_from_inside_then_in", "device:10.0.0.107 score>=5 credentials")
def _(c):
    c.office(2)
    for k in range(80):
        login(c, 3000 + k * 1.5, "10.0.0.107", "10.0.0.20", "ssh", "root", attempts=1)
    login(c, 3130, "10.0.0.107", "10.0.0.20", "ssh", "root", "success")


@case("password_guessing", "encrypted_desktop_by_flows_alone", "device:10.0.0.108 score>=3 credentials")
def _(c):
    c.office(2)
    for k in range(200):
        c.flow(1000 + k * 0.8, "10.0.0.108", "10.0.0.30", 3389, up=1450 + c.random.randrange(20),
               down=1900 + c.random.randrange(20), service="rdp", secs=0.7)


@case("password_guessing", "login_page", "device:10.0.0.109 score>=4.5 credentials")
def _(c):
    for k in range(150):
        c.http(100 + k * 0.4, "10.0.0.109", "10.0.0.40", "shop.example", "/account/login", method="POST",
               up=40, down=4100)
    c.http(170, "10.0.0.109", "10.0.0.40", "shop.example", "/account/login", method="POST", up=40, down=0,
           status=302)


@case("password_guessing", "outsider_gets_in", "external:203.0.113.66 score>=4 credentials")
def _(c):
    for k in range(120):
        login(c, 60 + k * 2, "203.0.113.66", "10.0.0.21", "ssh", ["root", "admin", "test", "pi"][k % 4])
    login(c, 320, "203.0.113.66", "10.0.0.21", "ssh", "pi", "success")


@case("password_guessing", "outsiders_fail_all_day")
def _(c):
    for n in range(6):
        for k in range(40):
            login(c, n * 1800 + k * 40, f"203.0.113.{60 + n}", "10.0.0.21", "ssh", ["root", "admin"][k % 2])


@case("password_guessing", "mail_client_with_expired_password")
def _(c):
    login(c, 0, "10.0.0.101", "10.0.0.25", "imap", "ann", "success")
    for k in range(2000):
        login(c, 600 + k * 60, "10.0.0.101", "10.0.0.25", "imap", "ann")


@case("password_guessing", "person_mistypes_and_gets_in")
def _(c):
    for k in range(5):
        login(c, 100 + k * 9, "10.0.0.102", "10.0.0.10", "krb", "bob", method="kerberos")
    login(c, 160, "10.0.0.102", "10.0.0.10", "krb", "bob", "success", method="kerberos")


@case("password_guessing", "monitoring_and_automation_over_ssh")
def _(c):
    for k in range(240):
        c.flow(k * 60, "10.0.0.50", "10.0.0.20", 22, up=1500, down=2200, service="ssh", secs=0.4)
    for n in range(20):
        for k in range(6):
            c.flow(7200 + k * 3 + n * 0.1, "10.0.0.51", f"10.0.0.{60 + n}", 22, up=4200 + 300 * k, down=5100,
                   service="ssh", secs=1.2)


@case("password_guessing", "key_agent_offers_all_its_keys")
def _(c):
    for k in range(30):
        login(c, k * 300, "10.0.0.103", "10.0.0.20", "ssh", "carl", "success", attempts=6)


# ---------------------------------------------------------------- password_spraying

@case("password_spraying", "one_password_for_everybody", "device:10.0.0.107 score>=3.5 credentials")
def _(c):
    for n in range(40):
        login(c, 100 + n * 3, "10.0.0.107", "10.0.0.10", "krb", f"user{n:02}", method="kerberos")
    login(c, 240, "10.0.0.107", "10.0.0.10", "krb", "user40", "success", method="kerberos")


@case("password_spraying", "one_account_at_every_server", "device:10.0.0.108 score>=2.5 credentials")
def _(c):
    for n in range(60):
        login(c, 50 + n * 2, "10.0.0.108", f"10.0.0.{20 + n}", "smb", "administrator", method="ntlm")


@case("password_spraying", "mail_gateway_speaks_for_many")
def _(c):
    for k in range(1500):
        user = f"user{c.random.randrange(150):03}"
        bad = c.random.random() < 0.06
        login(c, k * 2, "10.0.0.25", "10.0.0.10", "krb", user, "failure" if bad else "success")
        if bad:
            login(c, k * 2 + 1, "10.0.0.25", "10.0.0.10", "krb", user, "success")


@case("password_spraying", "shared_room_of_four_who_mistype")
def _(c):
    for n, user in enumerate(["ann", "bob", "carl", "dora"]):
        login(c, n * 500, "10.0.0.103", "10.0.0.10", "krb", user)
        login(c, n * 500 + 9, "10.0.0.103", "10.0.0.10", "krb", user, "success")


# ---------------------------------------------------------------- end of cases

if __name__ == "__main__":
    main()
