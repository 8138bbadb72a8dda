//! Alerts to incidents: correlation, hypotheses, timeline, narrative locked to evidence.

#![forbid(unsafe_code)]
