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


@case("lateral_movement", "looks_through_and_stops_services", "device:10.0.0.107 score>=2.2 lateral")
def _(c):
    c.office(3)
    rpc(c, 9000, "10.0.0.107", "10.0.0.104", "svcctl", "OpenSCManagerW", 15)
    rpc(c, 9001, "10.0.0.107", "10.0.0.104", "svcctl", "OpenServiceW", 16)
    rpc(c, 9002, "10.0.0.107", "10.0.0.104", "svcctl", "QueryServiceStatus", 6)
    rpc(c, 9003, "10.0.0.107", "10.0.0.104", "svcctl", "ControlService", 1)


@case("lateral_movement", "methods_of_an_object_elsewhere", "device:10.0.0.107 score>=2.6 lateral")
def _(c):
    c.office(3)
    rpc(c, 9000, "10.0.0.107", "10.0.0.104", "IRemoteSCMActivator", "RemoteGetClassObject", 3)
    rpc(c, 9001, "10.0.0.107", "10.0.0.104", "IDispatch", "Invoke", 6)


@case("lateral_movement", "outsider_reaches_for_an_old_hole", "external:203.0.113.66 score>=3 lateral")
def _(c):
    c.office(3)
    rpc(c, 9000, "203.0.113.66", "10.0.0.31", "srvsvc", "NetprPathCanonicalize", 31)


@case("lateral_movement", "monitoring_reads_services_every_day")
def _(c):
    c.office(3)
    for day in range(8):
        for n in range(3):
            rpc(c, day * DAY + n * 60, "10.0.0.5", f"10.0.0.{30 + n}", "svcctl", "OpenSCManagerW", 15)
            rpc(c, day * DAY + n * 60 + 1, "10.0.0.5", f"10.0.0.{30 + n}", "svcctl", "QueryServiceStatus", 6)


@case("lateral_movement", "programs_on_an_ordinary_share")
def _(c):
    c.office(3)
    for n in range(6):
        smb(c, n * 500, f"10.0.0.{100 + n}", "10.0.0.9", "tree_connect", r"\\files\install")
        smb(c, n * 500 + 1, f"10.0.0.{100 + n}", "10.0.0.9", "open", r"\\files\install", "setup.exe", size=90_000)
        smb(c, n * 500 + 2, f"10.0.0.{100 + n}", "10.0.0.9", "write", r"\\files\install", "tool.exe", size=90_000)


@case("lateral_movement", "policy_and_roles_are_asked_for")
def _(c):
    c.office(3)
    for n in range(8):
        for k in range(6):
            at = n * 40 + k * 1500
            rpc(c, at, f"10.0.0.{100 + n}", "10.0.0.10", "dssetup", "DsRolerGetPrimaryDomainInformation", 0)
            rpc(c, at + 1, f"10.0.0.{100 + n}", "10.0.0.10", "srvsvc", "NetrServerGetInfo", 21)
            rpc(c, at + 2, f"10.0.0.{100 + n}", "10.0.0.10", "IRemUnknown2", "RemRelease", 5)


@case("lateral_movement", "password_store_from_a_hidden_share", "device:10.0.0.107 score>=3.2 lateral")
def _(c):
    c.office(3)
    smb(c, 9000, "10.0.0.107", "10.0.0.10", "tree_connect", r"\\dc\C$")
    smb(c, 9001, "10.0.0.107", "10.0.0.10", "open", r"\\dc\C$", r"Windows\Temp\ntds.dit")


@case("lateral_movement", "looks_for_where_it_may_administer", "device:10.0.0.107 score>=2.2 lateral")
def _(c):
    c.office(3)
    for n in range(9):
        smb(c, 9000 + n, "10.0.0.107", f"10.0.0.{100 + n}", "tree_connect", rf"\\10.0.0.{100 + n}\ADMIN$",
            status=0xC0000022)
        rpc(c, 9000.5 + n, "10.0.0.107", f"10.0.0.{100 + n}", "svcctl", "OpenSCManagerW", 15, outcome="failure")


@case("lateral_movement", "subscription_stored_over_wmi", "device:10.0.0.107 score>=2.6 lateral")
def _(c):
    c.office(3)
    rpc(c, 9000, "10.0.0.107", "10.0.0.104", "IWbemLevel1Login", "NTLMLogin", 6)
    for k in range(3):
        rpc(c, 9001 + k, "10.0.0.107", "10.0.0.104", "IWbemServices", "PutInstance", 14)


@case("lateral_movement", "driver_for_another_machine", "device:10.0.0.107 score>=2.6 lateral")
def _(c):
    c.office(3)
    rpc(c, 9000, "10.0.0.107", "10.0.0.10", "spoolss", "RpcOpenPrinterEx", 69)
    rpc(c, 9001, "10.0.0.107", "10.0.0.10", "spoolss", "RpcAddPrinterDriverEx", 89)


@case("lateral_movement", "shell_by_the_port_of_remote_management", "device:10.0.0.107 score>=2 lateral")
def _(c):
    c.office(3)
    for k in range(4):
        c.flow(9000 + k, "10.0.0.107", "10.0.0.104", 5985, up=24_000, down=4_000, secs=3)


@case("lateral_movement", "events_are_handed_in")
def _(c):
    for n in range(12):
        for k in range(8):
            at = n * 31 + k * 900
            c.http(at, f"10.0.0.{100 + n}", "10.0.0.12", "wec:5985", "/wsman/SubscriptionManager/WEC", port=5985,
                   method="POST", up=2000, down=900)
            c.flow(at, f"10.0.0.{100 + n}", "10.0.0.12", 5985, up=3_000, down=1_400, secs=2)


@case("lateral_movement", "pipes_are_tried_on_a_server_that_has_none", "device:10.0.0.107 score>=2.5 lateral")
def _(c):
    c.office(3)
    smb(c, 9000, "10.0.0.107", "10.0.0.10", "open", r"\\dc\IPC$", "svcctl")
    smb(c, 9100, "10.0.0.107", "10.0.0.10", "open", r"\\dc\IPC$", "atsvc", status=0xC0000034)


@case("lateral_movement", "transactions_no_client_sends", "device:10.0.0.107 score>=3 lateral")
def _(c):
    c.office(3)
    c.add(9000, "quirk", "10.0.0.107", "10.0.0.31", 445, parser="smb", quirk="oversized_transaction")
    c.add(9003, "quirk", "10.0.0.107", "10.0.0.31", 445, parser="smb", quirk="session_setup_transaction")


@case("lateral_movement", "malformed_messages_of_other_kinds")
def _(c):
    c.office(3)
    for k in range(6):
        c.add(9000 + k, "quirk", "10.0.0.107", "10.0.0.31", 445, parser="smb", quirk="cut_request")


@case("lateral_movement", "printers_are_used")
def _(c):
    c.office(3)
    for n in range(8):
        for k in range(5):
            at = n * 17 + k * 900
            rpc(c, at, f"10.0.0.{100 + n}", "10.0.0.13", "spoolss", "RpcOpenPrinterEx", 69)
            rpc(c, at + 1, f"10.0.0.{100 + n}", "10.0.0.13", "IRemoteWinspool", "RpcAsyncEnumPrinterDrivers", 40)


@case("lateral_movement", "logs_are_read_elsewhere")
def _(c):
    domain(c)
    for k in range(40):
        rpc(c, 3000 + k, "10.0.0.107", "10.0.0.10", "eventlog6", "EvtRpcQueryNext", 11)


@case("lateral_movement", "hidden_share_of_a_department")
def _(c):
    domain(c)
    for k in range(10):
        smb(c, 3000 + k, "10.0.0.107", "10.0.0.10", "write", r"\\files\backup$", f"tools\\old{k}.exe", size=90_000)


@case("lateral_movement", "package_for_a_server")
def _(c):
    domain(c, 8)
    smb(c, 20_000, "10.0.0.107", "10.0.0.10", "tree_connect", r"\\dc\C$")
    smb(c, 20_001, "10.0.0.107", "10.0.0.10", "write", r"\\dc\C$", r"install\agent.msi", size=4_000_000)


@case("lateral_movement", "inventory_reads_many_machines")
def _(c):
    domain(c, 2)
    for n in range(6):
        rpc(c, 3000 + n * 10, "10.0.0.9", f"10.0.0.{100 + n}", "IWbemLevel1Login", "NTLMLogin", 6)
        rpc(c, 3001 + n * 10, "10.0.0.9", f"10.0.0.{100 + n}", "IWbemServices", "ExecQuery", 20)


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


@case("dcsync", "device_announces_itself_as_controller", "device:10.0.0.107 score>=4.4 credentials")
def _(c):
    domain(c)
    rpc(c, 8000, "10.0.0.107", "10.0.0.10", "drsuapi", "DRSBind", 0)
    rpc(c, 8001, "10.0.0.107", "10.0.0.10", "drsuapi", "DRSAddEntry", 17)
    rpc(c, 8002, "10.0.0.107", "10.0.0.10", "drsuapi", "DRSReplicaAdd", 5)


@case("dcsync", "script_fetches_the_policy_store", "device:10.0.0.107 score>=4 credentials")
def _(c):
    domain(c)
    for k in range(3):
        c.http(8000 + k, "10.0.0.107", "10.0.0.16", "sts.corp.example", "/adfs/services/policystoretransfer",
               method="POST", up=3500, down=90_000, user_agent="Mozilla/5.0 WindowsPowerShell/5.1")


@case("dcsync", "members_translate_names")
def _(c):
    domain(c)
    for n in range(8):
        rpc(c, 900 + n * 60, f"10.0.0.{100 + n}", "10.0.0.10", "drsuapi", "DRSBind", 0)
        rpc(c, 901 + n * 60, f"10.0.0.{100 + n}", "10.0.0.10", "drsuapi", "DRSCrackNames", 12)


@case("dcsync", "federation_servers_share_their_store")
def _(c):
    domain(c)
    for k in range(24):
        c.http(300 + k * 300, "10.0.0.17", "10.0.0.16", "sts.corp.example", "/adfs/services/policystoretransfer",
               method="POST", up=3500, down=900)


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


@case("kerberoasting", "one_weak_ticket_by_choice", "device:10.0.0.107 score>=2.5 credentials")
def _(c):
    domain(c)
    krb(c, 4000, "10.0.0.107", "tgs", "ann", "MSSQLSvc/db01.corp.example:1433", ticket_etype=23, offered_etypes=[23])


@case("kerberoasting", "weak_before_strong", "device:10.0.0.108 score>=2.5 credentials")
def _(c):
    domain(c)
    krb(c, 4000, "10.0.0.108", "tgs", "ann", "MSSQLSvc/db01.corp.example:1433", ticket_etype=23,
        offered_etypes=[23, 16, 3, 18])


@case("kerberoasting", "domain_of_old_devices")
def _(c):
    for n in range(6):
        for k, service in enumerate(["host/pc", "cifs/files", "LDAP/dc", "cifs/dc", "HTTP/intranet"]):
            krb(c, 60 + n * 7 + k, f"10.0.0.{100 + n}", "tgs", f"user{n}", service, ticket_etype=23,
                offered_etypes=[23, -133, -128, 3, 1, 24, -135])


@case("kerberoasting", "database_account_without_strong_keys")
def _(c):
    domain(c)
    for n in range(2):
        krb(c, 4000 + n, "10.0.0.107", "tgs", "ann", f"MSSQLSvc/db0{n}.corp.example:1433", ticket_etype=23)


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


@case("http_oddity", "one_page_on_many_hosts", "device:10.0.0.109 score>=2 control")
def _(c):
    c.office(2)
    for k in range(6):
        for n in range(4):
            c.http(3000 + k * 120 + n, "10.0.0.109", f"203.0.113.{70 + n}", f"www.drop{n}.example", "/p5/panel.php",
                   method="POST", up=120, down=0, user_agent="Mozilla/5.0")


@case("http_oddity", "program_under_a_look_alike_name", "device:10.0.0.110 score>=3 access")
def _(c):
    c.http(100, "10.0.0.110", "203.0.113.75", "www.school.example", "/font.php", method="POST", up=80, down=90000,
           magic="pe", content_type="application/octet-stream", file_name="Chr\u03bfme font.exe",
           user_agent="Mozilla/5.0 (Windows NT 6.1)")


@case("http_oddity", "hidden_program", "device:10.0.0.111 score>=2.4 access")
def _(c):
    c.http(100, "10.0.0.111", "203.0.113.76", "cars.landing.example", "/?q=abcdef", down=110000, magic="",
           content_type="application/x-msdownload", user_agent="Mozilla/5.0 (Windows NT 6.1)")


@case("http_oddity", "public_name_on_a_local_host", "device:10.0.0.112 score>=1.9 control")
def _(c):
    for k in range(40):
        c.http(100 + k * 5, "10.0.0.112", "10.0.0.90", "www.bigshop.example", "/s/books", down=0,
               user_agent="Mozilla/5.0 (Windows NT 6.1)")
        if k % 10 == 5:
            c.http(101 + k * 5, "10.0.0.112", "10.0.0.90", "www.bigshop.example", "/n/aps", method="POST", up=400,
                   user_agent="Mozilla/5.0 (Windows NT 6.1)")


@case("http_oddity", "own_site_by_its_public_name")
def _(c):
    c.dns(10, "10.0.0.113", "www.firm.example", "10.0.0.91")
    for k in range(60):
        c.http(100 + k * 20, "10.0.0.113", "10.0.0.91", "www.firm.example", "/board", down=3000,
               user_agent="Mozilla/5.0 (Windows NT 10.0)")


@case("http_oddity", "forms_of_one_site")
def _(c):
    for k in range(20):
        c.http(100 + k * 30, "10.0.0.114", "198.51.100.75", "www.forum.example", "/post.php", method="POST", up=900,
               down=4000, referrer="http://www.forum.example/read.php", user_agent="Mozilla/5.0 (Windows NT 10.0)")


# ---------------------------------------------------------------- ics_command

def polls(c, hours, every=20):
    for k in range(int(hours * 3600 / every)):
        c.add(k * every, "ics", "10.0.0.60", "10.0.0.70", 502, protocol="modbus", unit=1, function=3,
              name="read_holding_registers", address=100, quantity=20)
        if k % 30 == 0:
            c.add(k * every + 1, "ics", "10.0.0.60", "10.0.0.70", 502, protocol="modbus", unit=1, function=6,
                  name="write_single_register", write=True, address=40, quantity=1)


@case("ics_command", "stranger_writes", "device:10.0.0.107 score>=4.3 impact")
def _(c):
    polls(c, 8, 60)
    for k in range(10):
        c.add(27000 + k, "ics", "10.0.0.107", "10.0.0.70", 502, protocol="modbus", unit=1, function=16,
              name="write_multiple_registers", write=True, address=40, quantity=2)


@case("ics_command", "stop_on_the_first_day", "device:10.0.0.108 score>=4.3 impact")
def _(c):
    c.add(5, "ics", "10.0.0.108", "10.0.0.71", 20000, protocol="dnp3", unit=3, function=13, name="cold_restart",
          write=True)


@case("ics_command", "tries_all_functions_and_units", "device:10.0.0.109 score>=4 reconnaissance")
def _(c):
    for k in range(60):
        c.add(k, "ics", "10.0.0.109", "10.0.0.70", 502, protocol="modbus", unit=k % 40, function=60 + k,
              name=f"function_{60 + k}", exception=1)


@case("ics_command", "operator_station_polls_and_sets")
def _(c):
    polls(c, 6, 30)


@case("ics_command", "first_day_of_a_plant")
def _(c):
    for n in range(6):
        for k in range(40):
            c.add(n + k * 30, "ics", "10.0.0.60", f"10.0.0.{70 + n}", 502, protocol="modbus", unit=1,
                  function=[1, 3, 4, 6][k % 4], name=["read_coils", "read_holding_registers", "read_input_registers",
                                                     "write_single_register"][k % 4], write=k % 4 == 3)


@case("ics_command", "a_broken_register_is_refused_for_ever")
def _(c):
    polls(c, 3, 60)
    for k in range(90):
        c.add(k * 120 + 3, "ics", "10.0.0.60", "10.0.0.70", 502, protocol="modbus", unit=1, function=3,
              name="read_holding_registers", address=9000, quantity=1, exception=2)


# ---------------------------------------------------------------- threat_observation

def alert(c, at, client, name, severity, source="suricata", server="198.51.100.9"):
    c.add(at, "observation", client, server, 80, source=source, name=name, severity=severity, category="policy")


def daily_alerts(c, days):
    for day in range(days):
        for n in range(8):
            for k in range(6):
                alert(c, day * DAY + n * 60 + k * 3000, f"10.0.0.{100 + n}", f"policy {k % 4}", 3)
        alert(c, day * DAY + 400, "10.0.0.100", "scan of a name server", 2)


@case("threat_observation", "several_grave_and_new", "device:10.0.0.107 score>=4 unusual")
def _(c):
    daily_alerts(c, 6)
    for k, name in enumerate(["trojan check-in", "known control server", "download of a program by a script"]):
        alert(c, 5.4 * DAY + k * 60, "10.0.0.107", name, 1)


@case("threat_observation", "own_indicator_on_a_settled_site", "device:10.0.0.103 score>=3 unusual")
def _(c):
    daily_alerts(c, 4)
    c.add(3.5 * DAY, "observation", "10.0.0.103", "203.0.113.70", 443, source="partners.csv", name="203.0.113.70",
          category="indicator", severity=0)


@case("threat_observation", "thousands_a_day")
def _(c):
    for k in range(2500):
        alert(c, k * 70, f"10.0.0.{100 + k % 9}", f"policy {k % 5}", 1 + k % 3)


@case("threat_observation", "the_same_every_day")
def _(c):
    daily_alerts(c, 12)


# ---------------------------------------------------------------- tls_oddity

def tls(c, at, client, server, port=443, sni="", cert=None, **more):
    c.add(at, "tls", client, server, port, sni=sni, version=771, established=True, certificate=cert, **more)


def certificate(subject, issuer=None, names=(), since="2024-01-01T00:00:00Z", until="2025-01-01T00:00:00Z"):
    return {"subject": subject, "issuer": issuer or subject, "not_before": since, "not_after": until,
            "names": list(names), "self_signed": issuer is None}


@case("tls_oddity", "own_certificate_of_random_letters", "device:10.0.0.107 score>=3.4 control")
def _(c):
    c.office(2)
    for k in range(20):
        tls(c, 3000 + k * 60, "10.0.0.107", "203.0.113.80", 8843, cert=certificate("CN=xkqvztrwp.example",
            since="2024-03-03T00:00:00Z", until="2034-03-01T00:00:00Z"))


@case("tls_oddity", "printers_inside_and_public_services")
def _(c):
    for k in range(40):
        tls(c, k * 60, "10.0.0.101", "10.0.0.60", cert=certificate("CN=printer"))
        tls(c, k * 60 + 1, "10.0.0.101", "198.51.100.7", sni="www.example.com",
            cert=certificate("CN=example.com", "CN=Public CA", ["*.example.com", "example.com"]))


@case("tls_oddity", "things_with_a_vendor_certificate")
def _(c):
    for n in range(3):
        for k in range(30):
            tls(c, n * 7 + k * 600, f"10.0.0.{40 + n}", "198.51.100.30", 8883, sni="things.vendor.example",
                cert=certificate("CN=things.vendor.example", "CN=Vendor Root", until="2044-01-01T00:00:00Z"))


# ---------------------------------------------------------------- mining

@case("mining", "worker_of_an_outside_pool", "device:10.0.0.107 score>=4.8 impact")
def _(c):
    c.office(2)
    for k, verb in enumerate(["mining.subscribe", "mining.authorize"] + ["mining.submit"] * 30):
        c.add(3000 + k * 20, "operation", "10.0.0.107", "203.0.113.90", 3333, service="stratum", verb=verb,
              object="worker1")


@case("mining", "other_protocols_with_the_same_words")
def _(c):
    for k in range(50):
        c.add(k * 20, "operation", "10.0.0.101", "198.51.100.33", 3333, service="mqtt", verb="subscribe", object="jobs")
        c.flow(k * 20, "10.0.0.102", "198.51.100.34", 3333, service="http")


# ---------------------------------------------------------------- ad_enumeration

def search(c, at, client, text, entries=1, server="10.0.0.10"):
    c.add(at, "ldap", client, server, 389, operation="search", name="dc=corp,dc=example", filter=text, result=0,
          entries=entries)


@case("ad_enumeration", "maps_the_domain", "device:10.0.0.107 score>=4.3 reconnaissance")
def _(c):
    domain(c)
    for k, text in enumerate(["(&(samAccountType=805306368)(servicePrincipalName=*))", "(objectCategory=group)",
                              "(objectClass=computer)", "(objectClass=trustedDomain)", "(adminCount=1)"]):
        search(c, 4000 + k, "10.0.0.107", text, 300)
    for n in range(15):
        rpc(c, 4100 + n, "10.0.0.107", f"10.0.0.{100 + n}", "srvsvc", "NetrSessionEnum", 12)


@case("ad_enumeration", "server_made_to_authenticate", "device:10.0.0.108 score>=3.6 credentials")
def _(c):
    domain(c)
    rpc(c, 4000, "10.0.0.108", "10.0.0.10", "efsrpc", "EfsRpcOpenFileRaw", 0)


@case("ad_enumeration", "secrets_of_another_machine", "device:10.0.0.108 score>=3.2 credentials")
def _(c):
    domain(c)
    rpc(c, 4000, "10.0.0.108", "10.0.0.10", "lsarpc", "LsarOpenPolicy2", 44)
    rpc(c, 4001, "10.0.0.108", "10.0.0.10", "lsarpc", "LsarRetrievePrivateData", 43)


@case("ad_enumeration", "accounts_and_groups_listed", "device:10.0.0.108 score>=3 reconnaissance")
def _(c):
    domain(c)
    rpc(c, 4000, "10.0.0.108", "10.0.0.10", "samr", "SamrEnumerateUsersInDomain", 13)
    rpc(c, 4001, "10.0.0.108", "10.0.0.10", "samr", "SamrGetMembersInGroup", 25)
    rpc(c, 4002, "10.0.0.108", "10.0.0.10", "srvsvc", "NetrSessionEnum", 12)


@case("ad_enumeration", "shares_are_browsed")
def _(c):
    domain(c)
    for n in range(8):
        for k in range(3):
            at = n * 11 + k * 1300
            rpc(c, at, f"10.0.0.{100 + n}", f"10.0.0.{9 + k}", "srvsvc", "NetrShareEnum", 15)
            rpc(c, at + 1, f"10.0.0.{100 + n}", f"10.0.0.{9 + k}", "wkssvc", "NetrWkstaGetInfo", 0)


@case("ad_enumeration", "names_are_translated")
def _(c):
    domain(c)
    for n in range(8):
        for k in range(20):
            at = n * 9 + k * 300
            rpc(c, at, f"10.0.0.{100 + n}", "10.0.0.10", "lsarpc", "LsarOpenPolicy2", 44)
            rpc(c, at + 1, f"10.0.0.{100 + n}", "10.0.0.10", "lsarpc", "LsarLookupNames3", 68)
            rpc(c, at + 2, f"10.0.0.{100 + n}", "10.0.0.10", "samr", "SamrLookupNamesInDomain", 17)
            rpc(c, at + 3, f"10.0.0.{100 + n}", "10.0.0.10", "drsuapi", "DRSCrackNames", 12)


@case("ad_enumeration", "members_look_up_single_objects")
def _(c):
    domain(c)
    for n in range(8):
        for k in range(30):
            search(c, n + k * 200, f"10.0.0.{100 + n}", f"(&(objectClass=user)(sAMAccountName=user{k}))")
        rpc(c, n * 9, f"10.0.0.{100 + n}", "10.0.0.11", "srvsvc", "NetrShareEnumAll", 15)


@case("ad_enumeration", "print_clients")
def _(c):
    domain(c)
    for n in range(8):
        for k in range(5):
            rpc(c, n + k * 900, f"10.0.0.{100 + n}", "10.0.0.13", "spoolss",
                "RpcRemoteFindFirstPrinterChangeNotificationEx", 65)


@case("ad_enumeration", "everything_taken_over_a_sealed_connection", "device:10.0.0.107 score>=2.5 reconnaissance")
def _(c):
    domain(c)
    c.flow(4000, "10.0.0.107", "10.0.0.10", 389, up=9_000, down=7_000_000, service="ldap", secs=9)


@case("ad_enumeration", "rights_to_act_for_a_server_changed", "device:10.0.0.107 score>=3 credentials")
def _(c):
    domain(c)
    c.add(4000, "ldap", "10.0.0.107", "10.0.0.10", 389, operation="modify", name="cn=srv1,dc=corp,dc=example",
          attributes=["msDS-AllowedToActOnBehalfOfOtherIdentity"], result=0)


@case("ad_enumeration", "certificate_asked_for_by_an_old_door", "device:10.0.0.107 score>=1.8 reconnaissance")
def _(c):
    domain(c)
    rpc(c, 4000, "10.0.0.107", "10.0.0.18", "ICertPassage", "CertServerRequest", 0)


@case("ad_enumeration", "members_enrol_for_certificates")
def _(c):
    domain(c)
    for n in range(8):
        rpc(c, 900 + n * 60, f"10.0.0.{100 + n}", "10.0.0.18", "IRemoteSCMActivator", "RemoteCreateInstance", 4)


@case("ad_enumeration", "descriptions_and_passwords_change")
def _(c):
    domain(c)
    for k, what in enumerate(["description", "unicodePwd", "member"]):
        c.add(4000 + k, "ldap", "10.0.0.107", "10.0.0.10", 389, operation="modify", name="cn=ann,dc=corp,dc=example",
              attributes=[what], result=0)


@case("ad_enumeration", "permissions_of_one_object")
def _(c):
    domain(c)
    c.add(4000, "ldap", "10.0.0.107", "10.0.0.10", 389, operation="search", name="cn=ann,dc=corp,dc=example",
          filter="(objectClass=*)", attributes=["nTSecurityDescriptor"], result=0, entries=1)


@case("ad_enumeration", "consoles_load_the_schema_and_readers_are_readable")
def _(c):
    domain(c)
    for n in range(3):
        c.flow(4000 + n * 300, f"10.0.0.{100 + n}", "10.0.0.10", 389, up=3_000, down=320_000, service="ldap")
    search(c, 5000, "10.0.0.104", "(sAMAccountName=a*)", 900)
    c.flow(5000, "10.0.0.104", "10.0.0.10", 389, up=3_000, down=9_000_000, service="ldap")


# ---------------------------------------------------------------- ntlm_pass_the_hash

def ntlm(c, at, client, server, user, workstation, **more):
    c.add(at, "ntlm", client, server, 445, user=user, domain="CORP", workstation=workstation,
          **({"outcome": "success"} | more))


@case("ntlm_pass_the_hash", "stolen_account_on_many_servers", "device:10.0.0.107 score>=3.7 lateral")
def _(c):
    domain(c, 26)
    ntlm(c, 80_000, "10.0.0.107", "10.0.0.11", "user7", "PC7")
    for n in range(8):
        ntlm(c, 92_000 + n * 20, "10.0.0.107", f"10.0.0.{20 + n}", "user1", "")


@case("ntlm_pass_the_hash", "file_server_by_its_address")
def _(c):
    domain(c, 26)
    for n in range(8):
        for k in range(20):
            ntlm(c, n * 10 + k * 4000, f"10.0.0.{100 + n}", "10.0.0.11", f"user{n}", f"PC{n}")


@case("ntlm_pass_the_hash", "scanner_to_folder_by_day")
def _(c):
    for k in range(200):
        ntlm(c, k * 700, "10.0.0.60", f"10.0.0.{11 + k % 2}", "scan", "MFP", version1=k % 50 == 0)


@case("ntlm_pass_the_hash", "ticket_for_a_stolen_key", "device:10.0.0.107 score>=2.6 lateral")
def _(c):
    domain(c)
    krb(c, 4000, "10.0.0.107", "as", "user1", offered_etypes=[23])


@case("ntlm_pass_the_hash", "another_program_on_the_same_device", "device:10.0.0.107 score>=1.3 lateral")
def _(c):
    domain(c, 26)
    for k in range(3):
        smb(c, 80_000 + k * 60, "10.0.0.107", "10.0.0.11", "negotiate", "", dialect=0x0311)
    smb(c, 92_000, "10.0.0.107", "10.0.0.11", "negotiate", "", dialect=0x0300)
    ntlm(c, 92_001, "10.0.0.107", "10.0.0.11", "admin", "", carrier="smb")


@case("ntlm_pass_the_hash", "old_device_keeps_to_its_dialect")
def _(c):
    domain(c, 26)
    for k in range(40):
        smb(c, k * 2300, "10.0.0.60", "10.0.0.11", "negotiate", "", dialect=0x0210)
        ntlm(c, k * 2300 + 1, "10.0.0.60", "10.0.0.11", "scan", "MFP", carrier="smb")


@case("ntlm_pass_the_hash", "services_log_in_from_a_file_with_one_key")
def _(c):
    domain(c)
    for k in range(4):
        krb(c, 300 + k * 1700, "10.0.0.20", "as", "svc-web", offered_etypes=[18])
    # A site of old devices: the domain itself knows nothing better.
    for n in range(3):
        krb(c, 500 + n * 9, f"10.0.0.{30 + n}", "as", f"scan{n}", offered_etypes=[23], ticket_etype=23)


# ---------------------------------------------------------------- web_attack

@case("web_attack", "searches_and_injects", "device:10.0.0.107 score>=4.3 access\ndevice:10.0.0.107 score>=3 reconnaissance")
def _(c):
    for k in range(300):
        c.http(100 + k * 0.2, "10.0.0.107", "10.0.0.40", "shop.example", f"/{c.label()}.php", status=404, down=300)
    for k in range(30):
        c.http(170 + k, "10.0.0.107", "10.0.0.40", "shop.example", f"/item?id={k}%27%20OR%20%271%27=%271", down=4000)


@case("web_attack", "crawler_on_old_links")
def _(c):
    for k in range(600):
        gone = k % 6 == 0
        c.http(k * 2, "198.51.100.44", "10.0.0.40", "shop.example", f"/page/{k}", status=404 if gone else 200)


@case("web_attack", "monitoring_of_a_page_that_is_gone")
def _(c):
    for k in range(900):
        c.http(k * 30, "10.0.0.50", "10.0.0.40", "shop.example", "/health/old", status=404, down=90)


@case("web_attack", "people_search_for_words")
def _(c):
    for k in range(60):
        c.http(k * 30, "10.0.0.101", "10.0.0.40", "wiki.example", f"/search?q=select+plan+{k}+for+o%27brien", down=900)


# ---------------------------------------------------------------- proxy_use

@case("proxy_use", "outside_socks_server", "device:10.0.0.107 score>=3.2 control")
def _(c):
    c.office(2)
    for k in range(12):
        c.add(3000 + k * 20, "operation", "10.0.0.107", "203.0.113.95", 1080, service="socks", verb="connect",
              object=f"host{k}.example.net:443", outcome="success")


@case("proxy_use", "anonymity_network", "device:10.0.0.108 score>=4 control")
def _(c):
    c.dns(10, "10.0.0.108", "www.example.com", "198.51.100.7")
    for k, name in enumerate(["www.qkzdw3nbt7rh.com", "www.xkqvztrwpl.com", "www.b5zt2hmwq4k.com", "www.ghtrzkvbnw.net"]):
        tls(c, 100 + k, "10.0.0.108", f"203.0.113.{100 + k}", [443, 9001][k % 2], sni=name)


@case("proxy_use", "company_proxy")
def _(c):
    for n in range(10):
        for k in range(20):
            c.http(n + k * 60, f"10.0.0.{100 + n}", "10.0.0.3", f"site{k}.example.com:443", "", port=3128,
                   method="CONNECT", proxied=True)


@case("proxy_use", "encrypted_pages_that_were_looked_up")
def _(c):
    for k, name in enumerate(["www.bbc-news.example", "www.nhs.example", "www.wxyz123.com", "www.example.com"]):
        c.dns(k * 10, "10.0.0.101", name, f"198.51.100.{50 + k}")
        tls(c, k * 10 + 1, "10.0.0.101", f"198.51.100.{50 + k}", sni=name)


# ---------------------------------------------------------------- end of cases

if __name__ == "__main__":
    main()
