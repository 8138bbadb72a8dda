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


def rpc(c, at, client, server, interface, operation, opnum=0, **more):
    c.add(at, "dce_rpc", client, server, 49670, interface=interface, operation=operation, opnum=opnum, **more)


def smb(c, at, client, server, action, share, path="", new_path="", size=0, **more):
    c.add(at, "smb", client, server, 445, action=action, share=share, path=path, new_path=new_path, bytes=size, **more)


# ---------------------------------------------------------------- lateral_movement

@case("lateral_movement", "program_service_and_pipe", "device:10.0.0.107 score>=4.5 lateral")
def _(c):
    c.office(3)
    smb(c, 9000, "10.0.0.107", "10.0.0.31", "tree_connect", r"\\10.0.0.31\ADMIN$")
    smb(c, 9001, "10.0.0.107", "10.0.0.31", "write", r"\\10.0.0.31\ADMIN$", "qkzd.exe", size=58000)
    rpc(c, 9002, "10.0.0.107", "10.0.0.31", "svcctl", "OpenSCManagerW", 15)
    rpc(c, 9003, "10.0.0.107", "10.0.0.31", "svcctl", "CreateServiceW", 12)
    rpc(c, 9004, "10.0.0.107", "10.0.0.31", "svcctl", "StartServiceW", 19)
    smb(c, 9006, "10.0.0.107", "10.0.0.31", "open", r"\\10.0.0.31\IPC$", "qkzd-stdin")


@case("lateral_movement", "wmi_then_onwards", "device:10.0.0.31 score>=4.3 lateral\ndevice:10.0.0.107 score>=3.5 lateral")
def _(c):
    for at, client, server in [(100, "10.0.0.107", "10.0.0.31"), (900, "10.0.0.31", "10.0.0.32")]:
        rpc(c, at, client, server, "IRemoteSCMActivator", "RemoteCreateInstance", 4)
        rpc(c, at + 1, client, server, "IWbemLevel1Login", "NTLMLogin", 6)
        rpc(c, at + 2, client, server, "IWbemServices", "ExecMethod", 24)


@case("lateral_movement", "shells_all_over", "device:10.0.0.108 score>=2.5 lateral")
def _(c):
    c.office(30)
    for n in range(15):
        c.flow(104_400 + n * 40, "10.0.0.108", f"10.0.0.{20 + n}", 22, up=9000, down=24000, service="ssh", secs=30)


@case("lateral_movement", "administrator_at_work_every_day")
def _(c):
    c.add(0, "flow", "10.0.0.5", "10.0.0.20", 22, state="S0")
    for day in range(1, 12):
        # The first days of an administrator are not quiet; they are left to the alert budget.
        for n in range(1 if day < 6 else 4):
            at = day * DAY + n * 500
            rpc(c, at, "10.0.0.5", f"10.0.0.{30 + n}", "IWbemServices", "ExecQuery", 20)
            if day > 8:
                rpc(c, at + 5, "10.0.0.5", f"10.0.0.{30 + n}", "IWbemServices", "ExecMethod", 24)


@case("lateral_movement", "members_use_their_servers")
def _(c):
    c.office(8)
    for n in range(12):
        client = f"10.0.0.{100 + n}"
        for k in range(20):
            at = n * 60 + k * 1200
            smb(c, at, client, "10.0.0.10", "tree_connect", r"\\dc\SYSVOL")
            smb(c, at + 1, client, "10.0.0.10", "read", r"\\dc\SYSVOL", r"corp\Policies\gpt.ini", size=60)
            smb(c, at + 2, client, "10.0.0.10", "open", r"\\dc\IPC$", "lsarpc")
            rpc(c, at + 3, client, "10.0.0.10", "lsarpc", "LsarLookupNames4", 77)
            smb(c, at + 4, client, "10.0.0.11", "write", r"\\files\common", f"setup{k}.exe", size=90000)


@case("lateral_movement", "help_desk_opens_a_desktop")
def _(c):
    c.office(30)
    for n in range(2):
        c.flow(104_400 + n * 900, "10.0.0.101", f"10.0.0.{104 + n}", 3389, up=90000, down=900000, service="rdp", secs=600)


# ---------------------------------------------------------------- share_encryption

def documents(c, count, folders):
    endings = ["docx", "xlsx", "pdf", "jpg", "pptx", "txt"]
    for k in range(count):
        yield k, f"dept{k % folders}\\file{k:04}.{endings[k % len(endings)]}"


@case("share_encryption", "read_write_rename_and_note", "device:10.0.0.107 score>=5 impact")
def _(c):
    c.office(2)
    for k, path in documents(c, 240, 12):
        at = 4000 + k * 0.7
        smb(c, at, "10.0.0.107", "10.0.0.11", "read", r"\\files\common", path, size=40000)
        smb(c, at + 0.1, "10.0.0.107", "10.0.0.11", "write", r"\\files\common", path, size=40100)
        smb(c, at + 0.2, "10.0.0.107", "10.0.0.11", "rename", r"\\files\common", path, path + ".qwkz")
        if k < 12:
            smb(c, at + 0.3, "10.0.0.107", "10.0.0.11", "create", r"\\files\common", f"dept{k}\\HOW_TO_RESTORE.txt")


@case("share_encryption", "copies_with_an_ending_then_delete", "device:10.0.0.108 score>=4.5 impact")
def _(c):
    for k, path in documents(c, 150, 5):
        at = 100 + k * 1.1
        smb(c, at, "10.0.0.108", "10.0.0.11", "read", "common", path, size=40000)
        smb(c, at + 0.1, "10.0.0.108", "10.0.0.11", "create", "common", path + ".locked")
        smb(c, at + 0.2, "10.0.0.108", "10.0.0.11", "write", "common", path + ".locked", size=40100)
        smb(c, at + 0.3, "10.0.0.108", "10.0.0.11", "delete", "common", path)


@case("share_encryption", "office_saves_with_temporary_names")
def _(c):
    for k in range(200):
        path, at = f"team\\plan{k % 9}.docx", k * 40
        smb(c, at, "10.0.0.101", "10.0.0.11", "read", "common", path, size=40000)
        smb(c, at + 1, "10.0.0.101", "10.0.0.11", "write", "common", f"team\\~WRD{k:04}.tmp", size=40000)
        smb(c, at + 2, "10.0.0.101", "10.0.0.11", "rename", "common", path, f"team\\~WRL{k:04}.tmp")
        smb(c, at + 3, "10.0.0.101", "10.0.0.11", "rename", "common", f"team\\~WRD{k:04}.tmp", path)
        smb(c, at + 4, "10.0.0.101", "10.0.0.11", "delete", "common", f"team\\~WRL{k:04}.tmp")


@case("share_encryption", "nightly_backup_writes_new_files")
def _(c):
    for k, path in documents(c, 900, 20):
        at = k * 0.5
        smb(c, at, "10.0.0.50", "10.0.0.11", "read", "common", path, size=40000)
        smb(c, at + 0.1, "10.0.0.50", "10.0.0.12", "create", "backup", path)
        smb(c, at + 0.2, "10.0.0.50", "10.0.0.12", "write", "backup", path, size=40000)


@case("share_encryption", "logs_rotate_and_a_tree_is_cleaned")
def _(c):
    for k in range(60):
        for n in range(5, 0, -1):
            smb(c, k * 3, "10.0.0.20", "10.0.0.11", "rename", "logs", f"app{k}.log.{n}", f"app{k}.log.{n + 1}")
        smb(c, k * 3 + 1, "10.0.0.20", "10.0.0.11", "rename", "logs", f"app{k}.log", f"app{k}.log.1")
    for k, path in documents(c, 500, 9):
        smb(c, 600 + k * 0.2, "10.0.0.102", "10.0.0.11", "delete", "common", path)


@case("share_encryption", "person_edits_pictures")
def _(c):
    for k in range(60):
        path = f"fair\\img{k:03}.jpg"
        smb(c, k * 30, "10.0.0.104", "10.0.0.11", "read", "common", path, size=4000000)
        smb(c, k * 30 + 9, "10.0.0.104", "10.0.0.11", "write", "common", path, size=3000000)


# ---------------------------------------------------------------- dcsync

def krb(c, at, client, request, account, service="krbtgt/CORP", server="10.0.0.10", **more):
    """A Kerberos exchange; its own `client` is the account."""
    body = {"outcome": "success", "ticket_etype": 18, "offered_etypes": [18, 17, 23], "preauth": request == "as"} | more
    c.add(at, "kerberos", client, server, 88, request=request, realm="CORP", service=service, **body)
    c.events[-1][2]["client"] = account


def domain(c, hours=2):
    for n in range(8):
        for k in range(hours * 2):
            at = n * 20 + k * 1800
            client = f"10.0.0.{100 + n}"
            krb(c, at, client, "as", f"user{n}")
            krb(c, at + 1, client, "tgs", f"user{n}", "cifs/files", server="10.0.0.9")


@case("dcsync", "workstation_asks_for_changes", "device:10.0.0.107 score>=4.9 credentials")
def _(c):
    domain(c)
    rpc(c, 8000, "10.0.0.107", "10.0.0.10", "drsuapi", "DRSBind", 0)
    rpc(c, 8001, "10.0.0.107", "10.0.0.10", "drsuapi", "DRSCrackNames", 12)
    rpc(c, 8002, "10.0.0.107", "10.0.0.10", "drsuapi", "DRSGetNCChanges", 3)


@case("dcsync", "controllers_replicate")
def _(c):
    domain(c)
    for k in range(8):
        rpc(c, 200 + k * 900, "10.0.0.9", "10.0.0.10", "drsuapi", "DRSGetNCChanges", 3)
        rpc(c, 260 + k * 900, "10.0.0.10", "10.0.0.9", "drsuapi", "DRSGetNCChanges", 3)


# ---------------------------------------------------------------- zerologon

@case("zerologon", "storm_then_password", "device:10.0.0.107 score>=6 credentials")
def _(c):
    for k in range(180):
        rpc(c, 50 + k * 0.05, "10.0.0.107", "10.0.0.10", "netlogon", "NetrServerReqChallenge", 4)
        rpc(c, 50.02 + k * 0.05, "10.0.0.107", "10.0.0.10", "netlogon", "NetrServerAuthenticate3", 26)
    rpc(c, 60, "10.0.0.107", "10.0.0.10", "netlogon", "NetrServerPasswordSet2", 30)


@case("zerologon", "members_start_and_renew")
def _(c):
    for n in range(20):
        for k in range(3):
            rpc(c, n + k * 2, f"10.0.0.{100 + n}", "10.0.0.10", "netlogon", "NetrServerReqChallenge", 4)
            rpc(c, n + k * 2 + 1, f"10.0.0.{100 + n}", "10.0.0.10", "netlogon", "NetrServerAuthenticate3", 26)
        rpc(c, n + 20, f"10.0.0.{100 + n}", "10.0.0.10", "netlogon", "NetrServerPasswordSet2", 30)


@case("zerologon", "member_without_trust_retries")
def _(c):
    for k in range(60):
        rpc(c, k * 180, "10.0.0.103", "10.0.0.10", "netlogon", "NetrServerAuthenticate3", 26, outcome="failure")


# ---------------------------------------------------------------- kerberoasting

@case("kerberoasting", "collects_weak_tickets", "device:10.0.0.107 score>=4.3 credentials")
def _(c):
    domain(c)
    for n in range(12):
        krb(c, 4000 + n * 0.2, "10.0.0.107", "tgs", "ann", f"MSSQLSvc/db{n:02}.corp.example:1433",
            ticket_etype=23, offered_etypes=[23])


@case("kerberoasting", "strong_tickets_but_very_many", "device:10.0.0.108 score>=2.5 credentials")
def _(c):
    domain(c)
    for n in range(90):
        krb(c, 4000 + n, "10.0.0.108", "tgs", "ann", f"HTTP/app{n:02}.corp.example")


@case("kerberoasting", "old_storage_knows_only_weak")
def _(c):
    domain(c)
    for n in range(10):
        for k in range(5):
            krb(c, 100 + n * 11 + k * 900, f"10.0.0.{100 + n}", "tgs", f"user{n}", "nfs/old-nas.corp.example",
                ticket_etype=23)


@case("kerberoasting", "morning_log_ins")
def _(c):
    domain(c, 6)
    for n in range(8):
        for k, service in enumerate(["HTTP/intranet", "MSSQLSvc/erp", "HTTP/wiki", "IMAP/mail"]):
            krb(c, 60 + n * 7 + k, f"10.0.0.{100 + n}", "tgs", f"user{n}", service)


# ---------------------------------------------------------------- asrep_roasting

@case("asrep_roasting", "ticket_without_proof", "device:10.0.0.107 score>=3.9 credentials")
def _(c):
    domain(c)
    krb(c, 4000, "10.0.0.107", "as", "svc-old", ticket_etype=23, offered_etypes=[23], preauth=False)


@case("asrep_roasting", "list_of_names", "device:10.0.0.108 score>=4.3 credentials")
def _(c):
    domain(c)
    for n in range(200):
        krb(c, 4000 + n * 0.3, "10.0.0.108", "as", c.label(low=5, high=8), outcome="failure", ticket_etype=0,
            error=6 if n % 10 else 25, preauth=False)


@case("asrep_roasting", "terminal_server_logs_in_for_many")
def _(c):
    for n in range(60):
        krb(c, n * 20, "10.0.0.15", "as", f"user{n}", outcome="failure", ticket_etype=0, error=25, preauth=False)
        krb(c, n * 20 + 1, "10.0.0.15", "as", f"user{n}")


@case("asrep_roasting", "service_with_an_account_that_is_gone")
def _(c):
    for k in range(700):
        krb(c, k * 60, "10.0.0.20", "as", "svc-gone", outcome="failure", ticket_etype=0, error=6, preauth=False)


# ---------------------------------------------------------------- wrong_port

@case("wrong_port", "shell_on_the_port_of_web_pages", "device:10.0.0.107 score>=3.5 control")
def _(c):
    c.office(2)
    c.flow(5000, "10.0.0.107", "203.0.113.50", 443, up=9000, down=8000, service="ssh", secs=900)


@case("wrong_port", "web_on_the_port_of_names", "device:10.0.0.108 score>=3.3 control")
def _(c):
    for k in range(5):
        c.flow(100 + k * 60, "10.0.0.108", "203.0.113.51", 53, up=400, down=900, service="http")


@case("wrong_port", "usual_alternates")
def _(c):
    for k in range(30):
        c.flow(k * 60, "10.0.0.101", "198.51.100.5", 8443, service="ssl")
        c.flow(k * 60, "10.0.0.101", "198.51.100.6", 2222, service="ssh", up=4000, down=5000)
        c.flow(k * 60, "10.0.0.101", "10.0.0.33", 9090, service="http")
        c.flow(k * 60, "10.0.0.101", "198.51.100.25", 587, service="ssl")
        c.flow(k * 60, "10.0.0.101", "198.51.100.26", 5228, service="ssl")


@case("wrong_port", "things_call_home_on_odd_ports")
def _(c):
    for k in range(100):
        c.flow(k * 400, "10.0.0.40", "198.51.100.30", 7999, service="ssl")
        c.flow(k * 400, "10.0.0.41", "198.51.100.31", 6789, service="http")
        c.flow(k * 400 + 9, "10.0.0.42", "10.0.0.7", 10022, service="ssh", up=4000, down=5000)


# ---------------------------------------------------------------- http_oddity

@case("http_oddity", "program_as_picture_from_an_address", "device:10.0.0.107 score>=4 access")
def _(c):
    c.office(2)
    c.http(5000, "10.0.0.107", "203.0.113.60", "203.0.113.60", "/img/a.jpg", down=240000, magic="pe",
           content_type="image/jpeg", file_name="a.jpg", user_agent="")


@case("http_oddity", "posts_to_an_address", "device:10.0.0.108 score>=2.2 control")
def _(c):
    for k in range(30):
        c.http(100 + k * 40, "10.0.0.108", "203.0.113.61", "203.0.113.61", "/gate", method="POST", up=200, down=20,
               user_agent="Mozilla/5.0")


@case("http_oddity", "updates_of_many_devices")
def _(c):
    for n in range(10):
        for k in range(4):
            c.http(n * 5 + k * 600, f"10.0.0.{100 + n}", "198.51.100.70", "dl.vendor.example", f"/u{k}.exe",
                   down=9000000, magic="pe", content_type="application/octet-stream", file_name=f"u{k}.exe",
                   user_agent="Vendor-Update/3")


@case("http_oddity", "installer_from_a_small_vendor")
def _(c):
    c.http(100, "10.0.0.101", "198.51.100.71", "www.small-tool.example", "/setup.exe", down=3000000, magic="pe",
           content_type="application/x-msdownload", file_name="setup.exe", user_agent="Mozilla/5.0 (Windows NT 10.0)")


@case("http_oddity", "printers_and_cameras_inside")
def _(c):
    for k in range(50):
        c.http(k * 60, "10.0.0.101", "10.0.0.60", "10.0.0.60", "/status", method="POST", up=100, down=90)
        c.http(k * 60, "10.0.0.102", "10.0.0.61", "10.0.0.61", "/fw.bin", down=90000, magic="elf", file_name="fw.bin")


# ---------------------------------------------------------------- end of cases

if __name__ == "__main__":
    main()
