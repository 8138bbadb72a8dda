"""Starts the real servers of the office and of the internet side, each in its namespace.

Everything is configured under /run/lab and in overlays of /etc and /var (see `netns`), so no file
of the machine changes. Dead services are reported by `check`.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time

from . import certs
from .netns import sh

HERE = os.path.dirname(os.path.abspath(__file__))
R = "/run/lab"


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


class Services:
    """Owns the server processes of one run."""

    def __init__(self, site, site_dir, scale):
        self.s, self.dir, self.scale = site, site_dir, scale
        self.started = []           # (name, Popen, may exit)
        self.missing = []           # what could not run here, and why

    def spawn(self, netns, name, *argv, ready=False, forks=False):
        out = open(f"{R}/{name}.out", "wb")
        p = subprocess.Popen(["ip", "netns", "exec", netns, *map(str, argv)], stdin=subprocess.DEVNULL, start_new_session=True,
                             stdout=subprocess.PIPE if ready else out, stderr=out, cwd="/")
        if ready and p.stdout.readline().strip() != b"ready":
            raise RuntimeError(f"{name} did not start: {open(out.name).read()[-300:]}")
        self.started.append((name, p, forks))
        return p

    def up(self):
        self.users()
        with self.site_lock():
            self.keys()
        self.wire()
        self.names()
        self.internet()
        self.app()
        self.mail()
        with self.site_lock():
            self.directory()
        self.small()
        time.sleep(1.0)
        self.wait_ports()

    @contextlib.contextmanager
    def site_lock(self):
        """One process at a time makes the site's keys and domain; runs of one site may go side by side."""
        with open(f"{self.dir}/lock", "w", encoding="ascii") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield

    def check(self):
        """Names of services that have ended."""
        return [n for n, p, forks in self.started if p.poll() is not None and not forks]

    def last_words(self):
        """The last lines of every service that has ended."""
        return {n: open(f"{R}/{n}.out", errors="replace").read()[-300:] for n in self.check()}

    # -- accounts and keys -------------------------------------------------------------------
    def users(self):
        s = self.s
        lines = []
        for u in s.users + ["backup", "deploy", "scan"]:
            sh(f"useradd -m -s /bin/bash {u}", check=False)
            lines.append(f"{u}:{s.passwords.get(u, 'k3ys-only-' + u)}")
        subprocess.run(["chpasswd", "-c", "SHA512"], input="\n".join(lines).encode(), check=True)
        write("/etc/resolv.conf", f"nameserver {s.gw.ip}\nsearch {s.domain}\noptions timeout:2 attempts:2\n")
        write("/etc/hosts", "127.0.0.1 localhost\n")

    def keys(self):
        d = self.dir
        if not os.path.exists(f"{d}/certs/app.crt"):
            certs.Maker(f"{d}/certs", self.s).make_all()
            for n in ("app", "mon", "dc", "adm", "client"):
                sh(f"rm -f {d}/ssh-{n}; ssh-keygen -q -t {'ed25519' if n != 'dc' else 'ecdsa'} -N '' -f {d}/ssh-{n}")
        sh(f"cp -r {d}/certs {R}/certs; cp {d}/ssh-* {R}/; chmod -R a+rX {R}; chmod 600 {R}/ssh-*")
        sh(f"cat {R}/certs/ca-public.crt {R}/certs/ca-corp.crt > {R}/ca.crt")
        write("/etc/ssl/certs/ca-certificates.crt", open(f"{R}/ca.crt").read())
        for u in ("backup", "deploy", self.s.admin_user):
            sh(f"mkdir -p /home/{u}/.ssh && cp {R}/ssh-client.pub /home/{u}/.ssh/authorized_keys && "
               f"chown -R {u}: /home/{u}/.ssh && chmod 700 /home/{u} /home/{u}/.ssh")

    # -- wire and names ----------------------------------------------------------------------
    def wire(self):
        s = self.s
        self.spawn("isp", "delay", sys.executable, f"{HERE}/delay.py", "gw", "isp", json.dumps({"delay": s.delay}), ready=True)
        sh(f"ip netns exec gw ip route add default dev wan0; ip netns exec gw ip -6 route add default dev wan0; "
           f"ip netns exec isp ip route add {s.prefix}.0/24 dev wan0; ip netns exec isp ip -6 route add {s.prefix6}::/64 dev wan0")

    def names(self):
        s = self.s
        conf = ["no-resolv", "no-hosts", "bind-interfaces", f"listen-address={s.resolver}", "cache-size=0", "local-ttl=300",
                "local=/#/", f"server=/{s.tunnel_domain}/{s.hosts['evil'].ips[0]}",
                f"server=/{s.exfil_domain}/{s.hosts['evil'].ips[1]}", f"mx-host={s.partner},{s.saas['mx']},10",
                f"host-record=ntp.{s.partner},{s.resolver}"]
        for n, (_, a, six) in sorted(s.dns.items()):
            conf.append(f"host-record={n},{a}" + (f",{six}" if six else ""))
        for n in ("pool.ntp.org", "time.windows.com"):
            conf.append(f"host-record={n},{s.resolver}")
        for n in sorted(s.dns)[::3]:
            conf.append(f"txt-record={n},\"v=spf1 include:_spf.{n} ~all\"")
        write(f"{R}/isp-dns.conf", "\n".join(conf) + "\n")
        self.spawn("isp", "isp-dns", "dnsmasq", "-k", "-C", f"{R}/isp-dns.conf", "-x", f"{R}/isp-dns.pid")
        by = s.by_name
        conf = ["no-resolv", "no-hosts", "bind-dynamic", "interface=lan0", "except-interface=lo", f"server={s.resolver}", f"domain={s.domain}", "expand-hosts",
                f"local=/{s.domain}/", f"server=/{s.realm.lower()}/{by['dc'].ip}", "cache-size=400", "max-cache-ttl=3", "no-ping", "dhcp-authoritative",
                f"dhcp-range={s.prefix}.2,{s.prefix}.253,255.255.255.0,12h", f"dhcp-option=option:router,{s.gw.ip}",
                f"dhcp-option=option:dns-server,{s.gw.ip}", "enable-ra", f"dhcp-range={s.prefix6}::,ra-only,64,12h",
                f"host-record=mail.{s.domain},{by['mail'].ip}", f"host-record=intranet.{s.domain},{by['app'].ip}",
                f"host-record=proxy.{s.domain},{by['app'].ip}", f"host-record=files.{s.domain},{by['dc'].ip}",
                f"host-record={by['dc'].hostname}.{s.domain},{by['dc'].ip}", f"dhcp-leasefile={R}/leases"]
        conf += [f"dhcp-host={d.mac},{d.ip},{d.hostname}" for d in s.devices]
        conf += [f"host-record={d.hostname}.{s.domain},{d.ip}" for d in s.devices if d.role not in ("ws", "dc")]
        write(f"{R}/gw-dns.conf", "\n".join(conf) + "\n")
        self.spawn("gw", "gw-dns", "dnsmasq", "-k", "-C", f"{R}/gw-dns.conf", "-x", f"{R}/gw-dns.pid", "--user=root")

    # -- internet side -----------------------------------------------------------------------
    def nginx(self, netns, blocks, extra=""):
        conf = f"""daemon off; worker_processes 1; pid {R}/nginx-{netns}.pid; error_log {R}/nginx-{netns}.err;
user root; events {{ worker_connections 1024; }}
http {{ access_log off; client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1; server_tokens off;
 client_body_temp_path {R}/nb-{netns}; proxy_temp_path {R}/np-{netns}; fastcgi_temp_path {R}/nf-{netns}; uwsgi_temp_path {R}/nu-{netns}; scgi_temp_path {R}/nc-{netns};
 server_names_hash_bucket_size 128; keepalive_timeout 20; ssl_session_tickets on; {extra}
 {blocks} }}
"""
        write(f"{R}/nginx-{netns}.conf", conf)
        self.spawn(netns, f"nginx-{netns}", "nginx", "-e", f"{R}/nginx-{netns}.err", "-c", f"{R}/nginx-{netns}.conf")

    def internet(self):
        s = self.s
        py, srv = sys.executable, f"{HERE}/servers.py"
        proxy = "location / { proxy_pass http://127.0.0.1:8081; proxy_set_header Host $host; }"
        for h in ("web", "cdn", "cloud"):
            cfg = {"name": "nginx", "mx": h == "cloud", "call": h == "cloud"}
            self.spawn(h, f"content-{h}", py, srv, "content", json.dumps(cfg), ready=True)
            blocks = [f"server {{ listen 80 default_server; listen [::]:80 default_server; {proxy} }}"]
            first = True
            for n in sorted(n for n, v in s.dns.items() if v[0] == h and n in s.tls):
                proto = "TLSv1.2 TLSv1.3" if hash_of(n) % 5 else "TLSv1.2"
                six = f"listen [::]:443 ssl http2{' default_server' if first else ''};"
                blocks.append(f"server {{ listen 443 ssl http2{' default_server' if first else ''}; {six} server_name {n}; ssl_protocols {proto}; "
                              f"ssl_certificate {R}/certs/{n}.crt; ssl_certificate_key {R}/certs/{n}.key; {proxy} }}")
                first = False
            self.nginx(h, "\n".join(blocks))
        self.spawn("evil", "evil", py, srv, "evil", json.dumps({"certs": f"{R}/certs", "cert": s.evil["c2a"], "tasks": [44, 44, 44, 48, 44, 1300]}), ready=True)
        self.spawn("evil", "iodined", "iodined", "-f", "-c", "-P", "lab-tunnel", "-l", s.hosts["evil"].ips[0], "10.99.7.1/27", s.tunnel_domain)
        self.spawn("evil", "exfil-dns", "dnsmasq", "-k", "--no-resolv", "--no-hosts", "--bind-interfaces", f"--listen-address={s.hosts['evil'].ips[1]}",
                   f"--address=/{s.exfil_domain}/{s.hosts['evil'].ips[2]}", "--txt-record=cmd." + s.exfil_domain + ",ok:sleep", "-C", "/dev/null", "-x", f"{R}/exfil.pid")
        write(f"{R}/chrony.conf", f"local stratum 3\nallow all\ncmdport 0\nport 123\ndriftfile {R}/chrony.drift\nuser root\n")
        self.spawn("isp", "chrony", "chronyd", "-x", "-d", "-f", f"{R}/chrony.conf")

    # -- office servers ----------------------------------------------------------------------
    def app(self):
        s, py, srv = self.s, sys.executable, f"{HERE}/servers.py"
        write(f"{R}/htpasswd", "".join(f"{u}:{{PLAIN}}{s.passwords[u]}\n" for u in s.users))
        self.spawn("app", "content-app", py, srv, "content", json.dumps({"name": "gunicorn", "login": {u: s.passwords[u] for u in s.users}}), ready=True)
        loc = (f'location / {{ proxy_pass http://127.0.0.1:8081; proxy_set_header Host $host; }} '
               f'location /private {{ auth_basic "staff"; auth_basic_user_file {R}/htpasswd; proxy_pass http://127.0.0.1:8081; }}')
        self.nginx("app", f"server {{ listen 80; {loc} }} server {{ listen 443 ssl; ssl_certificate {R}/certs/app.crt; ssl_certificate_key {R}/certs/app.key; {loc} }}")
        for n in ("app", "mon", "dc", "adm"):
            write(f"{R}/sshd-{n}.conf", f"Port 22\nHostKey {R}/ssh-{n}\nPidFile {R}/sshd-{n}.pid\nUsePAM no\nPasswordAuthentication yes\n"
                  f"KbdInteractiveAuthentication no\nUseDNS no\nMaxStartups 200:30:400\nSubsystem sftp internal-sftp\nStrictModes no\nPrintMotd no\n")
            self.spawn(n, f"sshd-{n}", "/usr/sbin/sshd", "-D", "-e", "-f", f"{R}/sshd-{n}.conf")
        write(f"{R}/vsftpd.conf", "listen=YES\nanonymous_enable=NO\nlocal_enable=YES\nwrite_enable=YES\nseccomp_sandbox=NO\nbackground=NO\n"
              "secure_chroot_dir=/run/lab/ftp-empty\npasv_min_port=30000\npasv_max_port=30900\nmax_per_ip=0\nmax_login_fails=3\n"
              "delay_failed_login=0\nallow_writeable_chroot=YES\nxferlog_enable=NO\npam_service_name=vsftpd\n")
        sh(f"mkdir -p {R}/ftp-empty")
        write("/etc/pam.d/vsftpd", "auth required pam_unix.so\naccount required pam_unix.so\nsession optional pam_unix.so\n")
        self.spawn("app", "vsftpd", "vsftpd", f"{R}/vsftpd.conf")
        write(f"{R}/mosquitto.conf", "listener 1883 0.0.0.0\nallow_anonymous true\nuser root\npersistence false\n")
        self.spawn("app", "mosquitto", "mosquitto", "-c", f"{R}/mosquitto.conf")
        write(f"{R}/squid.conf", f"http_port 3128\nacl lan src {s.prefix}.0/24\nhttp_access allow lan\ncache deny all\naccess_log none\n"
              f"cache_log {R}/squid.log\npid_filename {R}/squid.pid\nshutdown_lifetime 0 seconds\ncoredump_dir /tmp\ncache_effective_user proxy\n"
              f"pinger_enable off\nnetdb_filename none\nvisible_hostname proxy.{s.domain}\n")
        self.spawn("app", "squid", "squid", "-N", "-f", f"{R}/squid.conf")

    def mail(self):
        s = self.s
        write("/etc/postfix/main.cf", f"""compatibility_level=3.6
myhostname=mail.{s.domain}
mydestination={s.mail_domain}, mail.{s.domain}, localhost
mynetworks={s.prefix}.0/24 127.0.0.0/8
inet_protocols=ipv4
inet_interfaces=all
home_mailbox=Maildir/
smtpd_tls_cert_file={R}/certs/mail.crt
smtpd_tls_key_file={R}/certs/mail.key
smtpd_tls_security_level=may
smtp_tls_security_level=none
smtpd_client_connection_rate_limit=0
queue_directory=/var/spool/postfix
maillog_file={R}/postfix.log
maillog_file_prefixes=/run
smtputf8_enable=no
alias_maps=
alias_database=
message_size_limit=60000000
mailbox_size_limit=0
""")
        sh("sed -i -E 's/^(smtp +inet.*|[a-z].* +(unix|inet) +)(.) +(.) +y /\\1\\3 \\4 n /' /etc/postfix/master.cf", check=False)
        self.spawn("mail", "postfix", "postfix", "start-fg")
        pw = "".join(f"{u}:{{PLAIN}}{s.passwords[u]}\n" for u in s.users)
        write(f"{R}/dovecot.pw", pw)
        write(f"{R}/dovecot.conf", f"""protocols = imap
base_dir = {R}/dovecot
listen = *
log_path = {R}/dovecot.log
ssl = yes
ssl_cert = <{R}/certs/mail.crt
ssl_key = <{R}/certs/mail.key
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = maildir:~/Maildir
mail_max_userip_connections = 100
first_valid_uid = 500
passdb {{
 driver = passwd-file
 args = {R}/dovecot.pw
}}
userdb {{
 driver = passwd
}}
service anvil {{
 unix_listener anvil-auth-penalty {{
  mode = 0
 }}
}}
namespace inbox {{
 inbox = yes
}}
""")
        self.spawn("mail", "dovecot", "dovecot", "-F", "-c", f"{R}/dovecot.conf")

    def directory(self):
        """Samba as a domain controller with the office share; provisioned once per site."""
        s, tar = self.s, f"{self.dir}/ad.tar"
        dc = s.by_name["dc"]
        host = dc.hostname.upper()
        write("/etc/krb5.conf", f"[libdefaults]\n default_realm = {s.realm}\n dns_lookup_realm = false\n dns_lookup_kdc = false\n rdns = false\n"
              f"[realms]\n {s.realm} = {{\n  kdc = {dc.ip}\n  admin_server = {dc.ip}\n }}\n")
        if not os.path.exists(tar):
            sh(f"rm -f /etc/samba/smb.conf; ip netns exec dc samba-tool domain provision --server-role=dc --use-rfc2307 --realm={s.realm} --domain={s.workgroup} "
               f"--adminpass='{s.admin_password}' --dns-backend=NONE --host-name={host} --host-ip={dc.ip} --targetdir=/srv/ad "
               f"--option='interfaces=lo eth0' --option='bind interfaces only=yes' > {R}/provision.out 2>&1")
            self._populate(host)
            sh(f"tar --xattrs --xattrs-include='*' --acls -C /srv -cf {tar}.new ad && mv {tar}.new {tar}")
        else:
            sh(f"tar --xattrs --xattrs-include='*' --acls -C /srv -xf {tar}")
        conf = open("/srv/ad/etc/smb.conf").read()
        if "[office]" not in conf:
            conf = "\n".join(x for x in conf.splitlines() if "server services" not in x and "interfaces =" not in x) + "\n"
            conf = conf.replace("[global]", "[global]\n\tserver services = s3fs, rpc, ldap, cldap, kdc, drepl, winbindd, ntp_signd, kcc\n"
                                f"\tinterfaces = 127.0.0.1/8 {dc.ip}/24\n\tdisable netbios = yes\n\tprefork children = 1\n\tlog level = 0\n\tserver signing = auto\n\tserver smb encrypt = {'default' if s.seed % 2 == 0 else 'off'}\n\tntlm auth = ntlmv2-only\n\tldap server require strong auth = no\n"
                                "\tload printers = no\n\tmax log size = 100\n\tsmb ports = 445 139\n", 1)
            conf += "\n[office]\n\tpath = /srv/office\n\tread only = no\n\tguest ok = no\n\n[ADMIN$]\n\tpath = /srv/adminshare\n\tread only = no\n\tadmin users = Administrator\n\tvalid users = Administrator\n\n[C$]\n\tpath = /srv/cshare\n\tread only = no\n\tvalid users = Administrator\n"
            write("/srv/ad/etc/smb.conf", conf)
        self._share()
        self.spawn("dc", "samba", "samba", "-F", "-M", "prefork", "-s", "/srv/ad/etc/smb.conf", "--no-process-group")

    def _populate(self, host):
        s = self.s
        opt = "-s /srv/ad/etc/smb.conf -H /srv/ad/private/sam.ldb"
        sh(f"samba-tool domain passwordsettings set --complexity=off --min-pwd-length=4 --account-lockout-threshold=0 {opt}")
        for u in s.users[:9] + [s.svc_sql, s.svc_scan]:
            sh(f"samba-tool user create {u} '{s.passwords[u]}' {opt}")
        for spn, owner in zip(s.spns, [s.svc_sql, s.svc_sql, s.users[7], s.users[8], s.svc_scan]):
            sh(f"samba-tool spn add {spn} {owner} {opt}")
        # The account without pre-authentication; samba-tool has no switch for it, samba's own library does.
        flag = ("from samba.samdb import SamDB; from samba.param import LoadParm; from samba.auth import system_session; lp = LoadParm(); "
                "lp.load('/srv/ad/etc/smb.conf'); SamDB(url='/srv/ad/private/sam.ldb', session_info=system_session(), lp=lp)"
                f".toggle_userAccountFlags('(sAMAccountName={s.svc_scan})', 0x400000, on=True)")
        subprocess.run(["/usr/bin/python3", "-c", flag], check=True, capture_output=True)

    def _share(self):
        """The share's files: a few hundred documents of our own making."""
        r = self.s.rng("share")
        for d in ("office", "adminshare", "cshare"):
            sh(f"mkdir -p /srv/{d} && chmod 777 /srv/{d}")
        for folder in ("Finance", "HR", "Projects", "Sales", "Scans"):
            os.makedirs(f"/srv/office/{folder}", exist_ok=True)
            os.chmod(f"/srv/office/{folder}", 0o777)
            for i in range(36):
                name = f"{r.choice(['report', 'invoice', 'offer', 'plan', 'minutes', 'budget'])}-{r.randint(2019, 2025)}-{i:03d}.{r.choice(['docx', 'xlsx', 'pdf', 'txt'])}"
                path = f"/srv/office/{folder}/{name}"
                with open(path, "wb") as f:
                    f.write((b"%PDF-1.4 " if name.endswith("pdf") else b"PK\x03\x04 ") + r.randbytes(int(min(r.lognormvariate(8.6, 1), 60000) * max(self.scale, .15)) + 200))
                os.chmod(path, 0o666)

    def small(self):
        py, srv = sys.executable, f"{HERE}/servers.py"
        self.spawn("printer", "printer", py, srv, "printer", "{}", ready=True)
        self.spawn("plc", "plc", py, srv, "plc", "{}", ready=True)
        write(f"{R}/snmpd.conf", "agentaddress udp:161\nrocommunity public\nsysName printer\nsysLocation floor 2\n")
        self.spawn("printer", "snmpd", "snmpd", "-f", "-C", "-c", f"{R}/snmpd.conf", "-Lo")

    def wait_ports(self):
        """Waits for the slow starters; what stays closed is a failure with its name."""
        want = [("dc", 445), ("dc", 88), ("dc", 389), ("app", 3128), ("app", 80), ("app", 21), ("app", 22), ("app", 1883),
                ("mail", 25), ("mail", 993), ("mon", 22), ("adm", 22), ("evil", 443), ("cloud", 25), ("web", 443), ("plc", 502)]
        deadline = time.time() + 180
        while want and time.time() < deadline:
            want = [(n, p) for n, p in want if f":{p} " not in sh(f"ip netns exec {n} ss -ltnH", check=False)]
            time.sleep(0.3)
        if want:
            raise RuntimeError(f"services not listening after 180 s: {want}; ended: {self.last_words()}")


def hash_of(text):
    import zlib
    return zlib.crc32(text.encode())
