"""Which segments a run consists of, and the manifest."""
from .segment import Segment

def small(site, args):
    e = site.epoch
    return [Segment(site, "test", e + 7.5*3600, e + 10*3600, args.density, args.scale)]

PLANS = {"small": small, "week": small}

def write_manifest(site, segments, out):
    pass
