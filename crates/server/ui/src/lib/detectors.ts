// Titles of the detectors (crates/detect/src/detectors); a unit test compares both.

export const DETECTORS: Record<string, string> = {
  ad_enumeration: 'Directory enumeration and coercion',
  amplification: 'Reflected amplification',
  asrep_roasting: 'Account enumeration and AS-REP roasting',
  beacon: 'Beaconing',
  dcsync: 'DCSync',
  dead_server: 'Knocking at a dead server',
  dga: 'Machine-made names',
  dns_tunnel: 'DNS tunnel',
  exfiltration: 'Unusual upload',
  flood: 'Flood',
  http_oddity: 'HTTP oddity',
  icmp_tunnel: 'Tunnel in pings',
  ics_command: 'Industrial command',
  infection_chain: 'Infection chain',
  joint_anomaly: 'Joint anomaly',
  kerberoasting: 'Kerberoasting',
  lateral_movement: 'Lateral movement',
  mail_sender: 'Mail to many servers',
  mining: 'Mining',
  ntlm_pass_the_hash: 'Stolen-hash log-ins',
  password_guessing: 'Password guessing',
  password_spraying: 'Password spraying',
  program_download: 'Program download',
  proxy_use: 'Proxies and anonymity networks',
  rare_destination: 'Rare destination',
  rare_ja4: 'Rare TLS client',
  rare_service: 'Rare internal service',
  rare_user_agent: 'Rare user agent',
  scan_arp: 'Address sweep on the segment',
  scan_horizontal: 'Port sweep',
  scan_icmp: 'Ping sweep',
  scan_slow: 'Slow scan',
  scan_vertical: 'Port scan',
  share_encryption: 'Encryption over shares',
  spoof_arp: 'Address claimed by two devices',
  spoof_dhcp: 'Foreign DHCP server',
  spoof_name: "Answers to names that are not one's own",
  threat_observation: "Other tools' alerts",
  tls_oddity: 'TLS oddity',
  web_attack: 'Web attack',
  wrong_port: 'Protocol on the wrong port',
  zerologon: 'Zerologon',
};

export const detectorTitle = (id: string): string => {
  const text = id.replaceAll('_', ' ');
  return DETECTORS[id] ?? text.charAt(0).toUpperCase() + text.slice(1);
};

/** What an alert is called: that of our own file engine is no other tool's. */
export const alertTitle = (alert: { detector: string; evidence: { key: string }[] }): string =>
  alert.detector === 'threat_observation' && alert.evidence.some((fact) => fact.key === 'sha256') ? 'File verdict' : detectorTitle(alert.detector);
