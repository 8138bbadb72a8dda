"""The office's normal life as a plan: who does what at which virtual time. Drawn from the seed and
the day alone, so a day is the same whatever attack is laid over it."""

import datetime as dt
import math

from . import life

DAY = 86400


def plan(world, start, end):
    """Schedules every normal activity between the virtual times; -> how many."""
    count, first = 0, world.site.epoch + math.floor((start - world.site.epoch) / DAY) * DAY
    day = first
    while day < end:
        for when, device, fn, args in day_plan(world.site, day, world.density):
            if start <= when < end:
                world.at(when, world.site.by_name[device], fn, *args)
                count += 1
        day += DAY
    return count


def asleep(site, start, end, density, needed):
    """Workstations that are switched off when a segment begins: those that boot later, and at midnight all."""
    day = site.epoch + math.floor((start - site.epoch) / DAY) * DAY
    later = {x[1] for x in day_plan(site, day, density) if x[2] is life.boot and start < x[0] < end}
    return [d for d in site.workstations if d.name not in needed and (d.name in later or start == day)]


def day_plan(site, day, density):
    """All normal activities of the day that begins at `day`, sorted by time."""
    r = site.rng(f"day:{int(day)}")
    weekday = dt.datetime.fromtimestamp(day, dt.timezone.utc).weekday()
    items = []
    add = lambda hour, device, fn, *args: items.append((day + hour * 3600, device, fn, args))
    machines(site, r, add, density, weekday)
    if weekday < 5:
        for d in site.workstations:
            if r.random() > .06:
                person(site, r, add, density, d)
        administrator(site, r, add, density)
    return sorted(items, key=lambda x: (x[0], x[1], x[2].__name__))


def every(r, minutes, jitter, begin=0.0, end=24.0):
    """Hours at a period with relative jitter."""
    t = begin + r.random() * minutes / 60
    while t < end:
        yield t
        t += minutes / 60 * (1 + r.uniform(-jitter, jitter))


def poisson(r, per_hour, begin, end):
    t = begin + r.expovariate(per_hour) if per_hour > 0 else end
    while t < end:
        yield t
        t += r.expovariate(per_hour)


def machines(site, r, add, density, weekday):
    saas = site.saas
    slow = 1 if density >= .9 else 2 if density >= .5 else 4
    for d in site.devices:
        if d.role != "ws":
            for t in every(r, 64 * slow, .02):
                add(t, d.name, life.ntp)
    for t in every(r, 5 * slow, .01):
        add(t, "mon", life.monitor)
    for t in every(r, 3 * slow, .05):
        add(t, "hmi", life.modbus_poll)
    for t in every(r, 10 * slow, .02):
        add(t, "cam", life.mqtt, "site/cam/status", '{"fps":15,"temp":%d}' % r.randint(30, 50))
    for t in every(r, 15 * slow * (2 if density < .25 else 1), .1):
        add(t, "cam", life.camera_cloud)
    for t in poisson(r, .3, 0, 24):
        add(t, "cam", life.post, saas["camcloud"], r.randint(30000, 160000), "IPC-HFW/2.8", "/clip")
    for t in every(r, 30 * slow, .3):
        add(t, "printer", life.query, r.choice(["ssdp", "mdns"]), "_ipp._tcp.local")
    for name in ("app", "mail", "mon"):
        add(r.uniform(3, 6.5), name, life.check_update, "deb.debian.org" if "deb.debian.org" in site.tls else saas["av"], "Debian APT-HTTP/1.3 (2.6.1)", 4000)
        for t in poisson(r, .25, 0, 24):
            add(t, name, life.lookup, r.choice(site.web), r.choice(["A", "MX", "TXT", "AAAA"]))
    for t in poisson(r, .4, 0, 24):
        add(t, "mail", life.lookup, f"{r.randint(2, 220)}.{r.randint(0, 255)}.{r.randint(0, 255)}.{r.choice([23, 45, 81, 104])}.in-addr.arpa", "PTR")
    for t in every(r, 60 * (2 if density < .25 else 1), .02):
        add(t, "dc", life.post, saas["telemetry"], 2500, "agent/7.51.0")
    add(2 + r.random() * .3, "mon", life.backup, int(r.uniform(5e6, 9e6)))
    add(1.2 + r.random() * .2, "mon", life.inventory)
    if weekday == 5:
        add(4.3, "app", life.windows_update, 3_000_000)


def person(site, r, add, density, d):
    """One person's working day at the device `d`."""
    begin, end = d.hours[0] + r.uniform(-.3, .3), d.hours[1] + r.uniform(-.4, .6)
    lunch = r.uniform(11.7, 12.6)
    n = d.name
    add(begin, n, life.boot)
    add(begin + .02, n, life.logon)
    add(end + .05, n, life.shutdown)
    begin += .04
    awake = lambda t: begin < t < end and not lunch < t < lunch + .6
    habit_names, weights = zip(*d.habits)
    for t in poisson(r, 11 * density, begin, end):
        if awake(t):
            if r.random() < .06:        # somewhere this device may never have been
                sites = [r.choice(site.web + site.http_sites)]
            else:
                sites = r.choices(habit_names, weights, k=r.choice([1, 1, 1, 2]))
            add(t, n, life.browse, sorted(set(sites)), r.getrandbits(32))
    for t in every(r, 10 if density >= .5 else 25 if density >= .25 else 100, .05, begin, end):
        add(t, n, life.mail_poll)
    for t in poisson(r, 1.1 * density, begin, end):
        to = r.choice([f"{r.choice(site.users[:8])}@{site.mail_domain}", f"{r.choice(['sales', 'info', 'office'])}@{site.partner}"])
        add(t, n, life.mail_send, to, r.choice([0, 0, 0, 40000, 250000]), r.getrandbits(32))
    for t in poisson(r, 2.2 * density, begin, end):
        if awake(t):
            add(t, n, life.file_work, r.getrandbits(32))
    for t in poisson(r, 1.6 * density, begin, end):
        add(t, n, life.intranet, r.getrandbits(32))
    for t in every(r, 20 if density >= .5 else 60 if density >= .25 else 170, .25, begin, end):
        add(t, n, life.post, site.saas["telemetry"] if d.system == "windows" else "gateway.icloud.com", r.randint(600, 5000), "TelemetrySender/10.0" if d.system == "windows" else "CloudKit/2.1")
    for t in every(r, 240 if density >= .25 else 480, .1, begin, end):
        add(t, n, life.check_update, site.saas["av"], "AVEngine/18.2", 60000 if density >= .5 else 8000)
    for t in poisson(r, .5 * density, begin, end):
        add(t, n, life.cloud_sync, int(min(r.lognormvariate(11.6, 1.4), 5e6)))
    for t in poisson(r, .25, begin, end):
        add(t, n, life.ocsp)
    for t in poisson(r, .8 * density, begin, end):
        add(t, n, life.lookup, r.choice([r.choice(site.web), r.choice(site.web).replace("a", "", 1), r.choice(["isatap", "wpad", "printer", "fileserver"]) + "." + site.domain]))
    for t in poisson(r, .5, begin, end):
        add(t, n, life.query, r.choice(["llmnr", "nbns", "ssdp"]) if d.system == "windows" else "mdns", r.choice(["fileserver", "wpad", d.hostname, "upnp:rootdevice"]))
    for t in poisson(r, .3 * density, begin, end):
        add(t, n, life.print_job, int(min(r.lognormvariate(11.3, .9), 2e6)))
    if r.random() < .45:
        add(r.uniform(9.6, 15.5), n, life.call, r.uniform(5, 11) * max(.25, min(1, density * 1.5)))
    if r.random() < .7:
        add(begin + r.uniform(.2, 4), n, life.chat, r.getrandbits(32), r.uniform(2, 6) * min(1, density * 2))
    if d.system == "windows" and r.random() < .3:
        add(r.uniform(begin, end), n, life.windows_update, int(r.uniform(4e5, 4e6)))
    if r.random() < .25:
        add(r.uniform(begin, end), n, life.download, r.choice(habit_names), int(r.uniform(5e5, 5e6)))


def administrator(site, r, add, density):
    for t in poisson(r, .9 * max(density, .4), 9.2, 16.2):
        add(t, "adm", life.admin_ssh, r.choice(["app", "mon", "dc"]), r.getrandbits(32))
    if r.random() < .5:
        add(r.uniform(10, 16), "adm", life.admin_files, r.getrandbits(32))
    if r.random() < .5:
        add(r.uniform(9, 16), "hmi", life.modbus_poll, True)
    for t in poisson(r, .4 * density, 8.5, 17):
        add(t, "printer", life.scan_to_ftp, r.randint(80000, 500000))
