"""What Thymus tells, taken by the programs that others use; `cargo xtask outputs` makes the samples and starts this.

Argument: the folder with demo.FORMAT. Environment: THYMUS, THYMUS_FILL (the programs), THYMUS_PACKAGING."""

import asyncio  # noqa: F401  (aiosmtpd wants a loop policy)
import email
import email.policy
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

WORK = pathlib.Path(sys.argv[1])
THYMUS = os.environ["THYMUS"]
PACKAGING = pathlib.Path(os.environ["THYMUS_PACKAGING"])
MAIL_HEADERS = {"From", "To", "Subject", "Date", "Message-ID", "Content-Type", "Content-Transfer-Encoding"}
HOSTILE = "x\r\n<14>1 - forged|a=b\\]\" \u001b[2J\u202e' end"


def say(what):
    print(f"outputs: {what}", flush=True)


def lines(name):
    return [json.loads(line) for line in (WORK / name).read_text().splitlines()]


def ocsf(name="demo.ocsf"):
    import jsonschema
    import ocsf_json_schema

    full = pathlib.Path(ocsf_json_schema.__file__).parent / "ocsf" / "1.8.0.json"
    schemas = ocsf_json_schema.OcsfJsonSchemaEmbedded(json.loads(full.read_text()))
    classes = {2004: "detection_finding", 2005: "incident_finding", 7004: "network_remediation_activity"}
    by_class = {uid: jsonschema.Draft202012Validator(schemas.get_class_schema(one, [])) for uid, one in classes.items()}
    found = lines(name)
    for event in found:
        by_class[event["class_uid"]].validate(event)
    say(f"{len(found)} events of OCSF in {name} are valid")


def stix(name="demo.stix"):
    import stix2validator

    # It would rather have ids of chance, and hashes of pages at MITRE; ids of the content are allowed (2.9).
    options = stix2validator.ValidationOptions(version="2.1", disabled=["uuid-check", "extref-hashes"])
    results = stix2validator.validate_file(str(WORK / name), options)
    if not results.is_valid or any(one.warnings for one in results.object_results):
        stix2validator.print_results([results])
        sys.exit("the STIX bundle is not valid")
    say(f"a STIX bundle of {len(json.loads((WORK / name).read_text())['objects'])} objects is valid")


def navigator():
    from mitreattack.navlayers import Layer

    layers = json.loads((WORK / "demo.navigator").read_text())
    for layer in layers if isinstance(layers, list) else [layers]:
        read = Layer(init_data=layer, name="demo", strict=True)
        assert len(read.to_dict()["techniques"]) == len(layer["techniques"])
    say("the Navigator's library takes the layer")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def certificates():
    """A root, and a certificate of it for this host."""
    run = lambda *args: subprocess.run(["openssl", *args], check=True, cwd=WORK, capture_output=True)
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=root",
        "-keyout", "root.key", "-out", "root.pem")
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (WORK / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    run("x509", "-req", "-in", "server.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
        "-days", "2", "-extfile", "names", "-out", "server.pem")


class Rsyslog:
    """rsyslog that takes messages over TCP, and writes what it understood of each as a line of JSON."""

    def __init__(self, name, tls):
        self.port = free_port()
        self.out = WORK / f"{name}.out"
        driver = globals_ = ""
        if tls:
            driver = 'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"'
            globals_ = (f'DefaultNetstreamDriverCAFile="{WORK}/root.pem" '
                        f'DefaultNetstreamDriverCertFile="{WORK}/server.pem" '
                        f'DefaultNetstreamDriverKeyFile="{WORK}/server.key"')
        fields = " ".join(
            f'property(name="{field}" outname="{field}" format="jsonf")' + (' constant(value=", ")' if last else "")
            for field, last in [("hostname", 1), ("app-name", 1), ("msgid", 1), ("structured-data", 1), ("msg", 0)])
        config = WORK / f"{name}.conf"
        config.write_text(
            f'global(workDirectory="{WORK}" maxMessageSize="64k" {globals_})\n'
            f'module(load="imtcp" {driver})\n'
            f'template(name="fields" type="list") {{ constant(value="{{") {fields} constant(value="}}\\n") }}\n'
            f'input(type="imtcp" address="127.0.0.1" port="{self.port}" ruleset="all")\n'
            f'ruleset(name="all") {{ action(type="omfile" file="{self.out}" template="fields") }}\n')
        self.process = subprocess.Popen(["/usr/sbin/rsyslogd", "-n", "-f", config, "-i", WORK / f"{name}.pid"])

    def messages(self, count):
        """The messages, as soon as there are so many."""
        for _ in range(600):
            if self.out.exists() and len(self.out.read_text().splitlines()) >= count:
                break
            assert self.process.poll() is None, "rsyslog ended"
            time.sleep(0.05)
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def end(self):
        self.process.terminate()
        self.process.wait()


class Mailbox:
    """A mail server that wants STARTTLS and a password."""

    def __init__(self):
        from aiosmtpd.controller import Controller
        from aiosmtpd.smtp import AuthResult

        self.mails = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(WORK / "server.pem", WORK / "server.key")
        mails = self.mails

        class Handler:
            async def handle_DATA(self, server, session, envelope):
                mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default)))
                return "250 taken"

        def authenticate(server, session, envelope, mechanism, data):
            return AuthResult(success=(data.login, data.password) == (b"thymus", b"a password"))

        self.port = free_port()
        self.controller = Controller(Handler(), hostname="127.0.0.1", port=self.port, tls_context=context,
                                     require_starttls=True, authenticator=authenticate, auth_required=True)
        self.controller.start()


def journal(incidents):
    state = WORK / "state"
    frames = "\n".join(json.dumps({"kind": "incidents", "items": [one]}) for one in incidents)
    subprocess.run([os.environ["THYMUS_FILL"], state / "journal"], input=frames.encode(), check=True)
    return state


def tell():
    report = json.loads((WORK / "report.json").read_text())
    incidents = report["incidents"]
    forged = json.loads(json.dumps(incidents[-1]))
    forged.update(id="00000000000000ff", title=HOSTILE, hypothesis=HOSTILE, narrative=HOSTILE, confidence="low")
    forged["affected"][0]["name"] = HOSTILE
    told = [*incidents, forged]
    state = journal(told)
    certificates()
    plain, tls, mail = Rsyslog("plain", False), Rsyslog("tls", True), Mailbox()
    password = WORK / "password"
    password.write_text("a password\n")
    password.chmod(0o600)
    outputs = [
        f"syslog+tcp://127.0.0.1:{plain.port}?hostname=probe&max=65536&name=plain",
        f"syslog+tcp://127.0.0.1:{plain.port}?hostname=probe&format=cef&framing=lines&max=65536&name=cef",
        f"syslog+tls://localhost:{tls.port}?format=ocsf&tell=all&ca={WORK}/root.pem&max=65536&name=tls",
        f"smtp://localhost:{mail.port}?from=thymus@example.org&to=soc@example.org&to=it@example.org&user=thymus"
        f"&password-file={password}&ca={WORK}/root.pem&name=mail",
    ]
    command = [THYMUS, "tell", "--state", state]
    for output in outputs:
        command += ["--output", output]
    teller = subprocess.Popen(command)
    try:
        both = plain.messages(2 * len(told))
        assert len(both) == 2 * len(told), both
        assert all(one["app-name"] == "thymus" and one["hostname"] == "probe" and one["msgid"] == "incident" for one in both)
        cef = [one for one in both if one["msg"].lstrip().startswith("CEF:0|Thymus|")]
        assert len(cef) == len(told)
        data = [one["structured-data"] for one in both if one not in cef]
        assert all(re.search(r'confidence="(high|medium|low)"', one) for one in data), data
        say(f"rsyslog understood {len(both)} messages over TCP, hostile names and both framings")
        alerts = sum(len(one["alerts"]) for one in told)
        over_tls = tls.messages(len(told) + alerts)
        classes = [json.loads(one["msg"])["class_uid"] for one in over_tls]
        assert (classes.count(2005), classes.count(2004)) == (len(told), alerts), classes
        say(f"rsyslog took {len(classes)} OCSF findings over TLS")
        for _ in range(600):
            if len(mail.mails) >= len(told):
                break
            time.sleep(0.05)
        assert len(mail.mails) == len(told), mail.mails
        for to, message in mail.mails:
            assert to == ["soc@example.org", "it@example.org"]
            assert message["Subject"].startswith("[thymus] ") and message["Message-ID"].endswith("@thymus>")
            assert set(message.keys()) == MAIL_HEADERS, message.keys()
            assert re.search(r"^incident [0-9a-f]{16}-[0-9a-f]{8}\s*$", message.get_content(), re.M), message
        say(f"a mail server took {len(mail.mails)} messages after STARTTLS and a password")
        # They say every two seconds how they stand.
        time.sleep(2.5)
        health = json.loads((state / "outputs/health.json").read_text())
        assert all(one["refused"] == one["dropped"] == 0 for one in health["outputs"]), health
    finally:
        teller.terminate()
        teller.wait()
        plain.end()
        tls.end()
        mail.controller.stop()
    return state


def console_metrics(state):
    """What the console answers to Prometheus, once it has taken in how the outputs stand."""
    status = {"at": "2026-01-01T00:00:00Z", "source": "eth0", "is_down": False, "lag_ms": 12,
              "coverage": {"packets": 10, "packets_judged": 9, "bytes": 1, "flows": 1, "records": 0,
                           "records_judged": 0, "events": 5, "entities": 3, "cold_entities": 1,
                           "dropped": {"kernel_ring_full": 1}},
              "detectors": [{"id": "beacon", "state": "ok"}]}
    (state / "processes.json").write_text(json.dumps(
        {"processes": [{"name": "analysis", "pid": 1, "restarts": 0, "memory_bytes": 1024}]}))
    frame = json.dumps({"kind": "status", "items": status})
    subprocess.run([os.environ["THYMUS_FILL"], state / "journal"], input=frame.encode(), check=True)
    token = subprocess.run([THYMUS, "token", "add", "prometheus", "--role", "viewer", "--state", state],
                           check=True, capture_output=True, text=True).stdout.split()[-1]
    console = subprocess.Popen([THYMUS, "console", "--listen", "127.0.0.1:0", "--state", state],
                               stdout=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://\S+", console.stdout.readline())[0]
        curl = ["curl", "--silent", "--show-error"]
        address = f"{url}/api/v1/metrics"
        stranger = subprocess.run([*curl, "--output", WORK / "stranger", "--write-out", "%{http_code}", address],
                                  capture_output=True, text=True, check=True)
        assert stranger.stdout == "401", stranger.stdout
        for _ in range(200):
            text = subprocess.run([*curl, "--fail", "--header", f"Authorization: Bearer {token}", address],
                                  capture_output=True, text=True, check=True).stdout
            if "thymus_output_delivered_total" in text and "thymus_packets_total" in text:
                break
            time.sleep(0.1)
    finally:
        console.terminate()
        console.wait()
    return text


def prometheus(state):
    text = console_metrics(state)
    (WORK / "metrics").write_text(text)
    subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)
    families = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    say(f"promtool takes {len(families)} families of metrics")
    rules = PACKAGING / "prometheus/thymus.rules.yml"
    subprocess.run(["promtool", "check", "rules", rules], check=True)
    subprocess.run(["promtool", "test", "rules", PACKAGING / "prometheus/thymus.rules.test.yml"], check=True)
    dashboard = json.loads((PACKAGING / "grafana/thymus.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(queries) > 8
    wrapped = "groups:\n- name: dashboard\n  rules:\n" + "".join(
        f"  - record: dashboard:query{n}\n    expr: {json.dumps(query.replace('$__rate_interval', '5m'))}\n"
        for n, query in enumerate(queries))
    (WORK / "dashboard.yml").write_text(wrapped)
    subprocess.run(["promtool", "check", "rules", WORK / "dashboard.yml"], check=True)
    used = set(re.findall(r"\bthymus_\w+", rules.read_text() + " ".join(queries)))
    unknown = {name for name in used if name not in families}
    assert not unknown, f"no such metrics: {unknown}"
    say(f"rules and {len(queries)} queries of the dashboard name {len(used)} metrics that there are")


def eventually(what, is_so):
    for _ in range(1200):
        if is_so():
            return
        time.sleep(0.05)
    sys.exit(f"not within a minute: {what}")


class Firewall:
    """The receiver that docs/outputs.md shows, as it stands there."""

    def __init__(self, secret):
        page = (PACKAGING.parent / "docs/outputs.md").read_text()
        code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.S))
        self.port = free_port()
        for shown, meant in [("/etc/thymus/hook.secret", str(secret)), ('"127.0.0.1", 8080', f'"127.0.0.1", {self.port}')]:
            assert code.count(shown) == 1, code
            code = code.replace(shown, meant)
        self.seen = []
        self.names = {"enforce": lambda held: self.seen.append(dict(held))}
        threading.Thread(target=lambda: exec(code, self.names), daemon=True).start()
        eventually("the receiver listens", lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)

    def post(self, headers):
        request = http.client.HTTPConnection("127.0.0.1", self.port)
        request.request("POST", "/", '{"kind":"decision","id":"d1","state":"cleared"}', headers)
        return request.getresponse().status


def decisions():
    """A question told to a mail server, to the receiver of the documents, and in OCSF and STIX."""
    state = WORK / "respond"
    state.mkdir()
    policy, secret, password = state / "policy.toml", WORK / "hook.secret", WORK / "password"
    policy.write_text("mode = 'approve'\nresponders = ['bouncers']\n")
    secret.write_text("a secret that both ends know\n")
    secret.chmod(0o600)
    mail, firewall = Mailbox(), Firewall(secret)
    outputs = [
        f"http://127.0.0.1:{firewall.port}/?tell=decisions&secret-file={secret}",
        f"smtp://localhost:{mail.port}?from=thymus@example.org&to=soc@example.org&user=thymus"
        f"&password-file={password}&ca={WORK}/root.pem&tell=decisions",
        f"file://{WORK}/decisions.ocsf?format=ocsf&tell=decisions",
        f"file://{WORK}/decisions.stix?format=stix&tell=decisions",
    ]
    command = [THYMUS, "tell", "--state", state, "--console-url", "https://thymus.example.org:8642/"]
    for output in outputs:
        command += ["--output", output]
    thymus = lambda *words: subprocess.run([THYMUS, *words, "--state", state], check=True, capture_output=True)
    enforcer = subprocess.Popen([THYMUS, "enforce", "--state", state, "--policy", policy])
    teller = None
    try:
        eventually("the enforcer listens", (state / "response/control").exists)
        cuts = [{"what": "address", "of": "10.44.0.17/32", "side": "both"}]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        proposal = {"incident": "4a5b6c7d8e9f0a1b", "confidence": "high", "device": "device:10.44.0.17",
                    "addrs": ["10.44.0.17"], "verb": "quarantine", "cuts": cuts, "stage": 0, "evidence_at": now,
                    "reason": "it opens the files of 38 others " + HOSTILE,
                    "rehearsal": {"days": 7, "flows": 4120, "cut": 9, "flows_all": 410000, "devices": 1,
                                  "devices_all": 120, "named": [], "unknown": 0}}
        with (state / "response/proposals.jsonl").open("a") as proposals:
            proposals.write(json.dumps({"say": "proposals", "at": now, "proposals": [proposal]}) + "\n")
        teller = subprocess.Popen(command)
        eventually("the question is mailed", lambda: len(mail.mails) == 1)
        to, message = mail.mails[0]
        text = message.get_content()
        assert to == ["soc@example.org"] and set(message.keys()) == MAIL_HEADERS, message.keys()
        assert message["Subject"] == "[thymus] d1 waits for your answer: quarantine the device, 10.44.0.17", message["Subject"]
        assert re.search(r"https://thymus\.example\.org:8642/approve/[0-9a-f]{64}\s", text), text
        assert "Would cut: all of 10.44.0.17" in text and "thymus approve d1" in text, text
        thymus("approve", "d1")
        eventually("the firewall holds it", lambda: any("d1" in held for held in firewall.seen))
        until, held = firewall.names["held"]["d1"]
        assert held == cuts and until > now, (until, held)
        at = str(int(time.time()))
        for headers in [{"X-Thymus-Timestamp": at, "X-Thymus-Signature": "v1=" + "0" * 64},
                        {"X-Thymus-Timestamp": "1", "X-Thymus-Signature": "v1=" + "0" * 64}]:
            assert firewall.post(headers) == 401 and "d1" in firewall.names["held"]
        thymus("undo", "d1")
        eventually("the firewall lets go", lambda: not firewall.names["held"])
        eventually("three mails", lambda: len(mail.mails) == 3)
        assert mail.mails[2][1]["Subject"].startswith("[thymus] d1 is over (cleared)"), mail.mails[2][1]["Subject"]
        eventually("all of it in files", lambda: len(lines("decisions.ocsf")) == len(lines("decisions.stix")) == 3)
    finally:
        for process in [teller, enforcer]:
            if process:
                process.terminate()
                process.wait()
        mail.controller.stop()
    ocsf("decisions.ocsf")
    for n, bundle in enumerate(lines("decisions.stix")):
        (WORK / f"decision{n}.stix").write_text(json.dumps(bundle))
        stix(f"decision{n}.stix")
    say("a mail server was asked, and the receiver of the documents did what was decided")


ocsf()
stix()
navigator()
prometheus(tell())
decisions()
