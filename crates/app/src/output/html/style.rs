//! The style sheet of the page.
//
// tidy: table

pub(super) const SHEET: &str = "
:root{--bg:#f4f6f8;--card:#fff;--ink:#17202a;--dim:#5b6875;--line:#dfe5ea;--soft:#eef2f5;--accent:#0b6e63;
--high:#b3261e;--medium:#9a5b00;--low:#4a5b6c;
--p0:#7b8794;--p1:#2f6fb7;--p2:#8a4fbf;--p3:#b8860b;--p4:#c2410c;--p5:#0f766e;--p6:#be185d;--p7:#b3261e}
@media(prefers-color-scheme:dark){:root{--bg:#10161c;--card:#182028;--ink:#e7edf2;--dim:#9aa8b5;--line:#2b3640;
--soft:#202a33;--accent:#4fc3b0;--high:#ff8a80;--medium:#f5b942;--low:#a9b8c6;
--p0:#93a1ae;--p1:#6aa8ec;--p2:#bd8df0;--p3:#e0b23c;--p4:#fb8b4b;--p5:#45c4b4;--p6:#f472b6;--p7:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,
'Helvetica Neue',Arial,sans-serif;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:1040px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:30px;line-height:1.2;margin:2px 0 4px;letter-spacing:-.01em}
h2{font-size:19px;margin:0 0 10px}h3{font-size:13px;margin:26px 0 8px;color:var(--dim);text-transform:uppercase;
letter-spacing:.06em;font-weight:600}
p{margin:0 0 10px}a{color:inherit;text-decoration:none}a:hover{text-decoration:underline}
.top{border-bottom:3px solid var(--accent);padding-bottom:14px;margin-bottom:20px}
.brand{color:var(--accent);font-weight:700;letter-spacing:.14em;text-transform:uppercase;font-size:13px;margin:0}
.sub,.note{color:var(--dim)}.note{font-size:14px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-bottom:18px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.tile b{display:block;font-size:24px;line-height:1.2;font-variant-numeric:tabular-nums}
.tile span{color:var(--dim);font-size:13px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:22px 24px;margin-bottom:18px}
.incident{border-left:5px solid var(--low)}.incident.high{border-left-color:var(--high)}
.incident.medium{border-left-color:var(--medium)}
.incident h2{font-size:21px;line-height:1.3;margin:6px 0 6px}
.lead{font-size:17px;line-height:1.5;margin:0 0 12px}
.badge{display:inline-block;border:1px solid currentColor;border-radius:999px;padding:0 10px;font-size:12px;
line-height:20px;font-weight:600;text-transform:capitalize;color:var(--low)}
.badge.high{color:var(--high)}.badge.medium{color:var(--medium)}
.meta{display:flex;flex-wrap:wrap;gap:4px 18px;color:var(--dim);font-size:13.5px;margin:0 0 4px;align-items:center}
.toc{margin:0 0 16px;padding-left:22px}.toc li{margin:5px 0}
.steps{list-style:none;margin:0;padding:0;border-left:2px solid var(--line)}
.steps li{position:relative;padding:0 0 16px 20px}.steps li:last-child{padding-bottom:2px}
.steps li::before{content:'';position:absolute;left:-7px;top:6px;width:12px;height:12px;border-radius:50%;
background:var(--c,var(--p0));border:2px solid var(--card)}
.when{color:var(--dim);font-size:13px;font-variant-numeric:tabular-nums}
.phase{font-size:12px;font-weight:600;color:var(--c)}
.seen{margin:1px 0 2px}.normal{color:var(--dim);font-size:14px;margin:0}
.normal b{font-weight:600}
.next{margin:0;padding-left:22px}.next li{margin:6px 0}
.chips{display:flex;flex-wrap:wrap;gap:6px}.chip{background:var(--soft);border:1px solid var(--line);
border-radius:6px;padding:2px 9px;font-size:13px}.chip b{font-weight:600}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th{text-align:left;font-weight:600;color:var(--dim)}
th,td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child>*{border-bottom:0}
.facts th{width:260px}.nowrap{white-space:nowrap}.break{overflow-wrap:anywhere}
code{font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere;color:var(--dim)}
details{margin-top:14px}summary{cursor:pointer;font-weight:600;font-size:14px}
details table{margin-top:8px}
svg{display:block;width:100%;height:auto;font:12px system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif}
svg text{fill:var(--ink)}svg .dim{fill:var(--dim)}svg .grid{stroke:var(--line);stroke-width:1}
svg .lane{fill:var(--soft)}svg .bar{fill:var(--c)}
svg .node{fill:var(--card);stroke:var(--dim);stroke-width:1.5}svg .suspect{stroke:var(--high);stroke-width:2}
svg .outside{stroke-dasharray:5 3}svg .edge{fill:none;stroke:var(--c);stroke-width:2}
svg .tip{fill:var(--c)}svg .strong{font-weight:600}svg .tag{font-size:11px;fill:var(--c);font-weight:600}
svg .halo{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
.p0{--c:var(--p0)}.p1{--c:var(--p1)}.p2{--c:var(--p2)}.p3{--c:var(--p3)}.p4{--c:var(--p4)}.p5{--c:var(--p5)}
.p6{--c:var(--p6)}.p7{--c:var(--p7)}
footer{color:var(--dim);font-size:13.5px;padding:6px 4px}footer h2{font-size:15px;margin-bottom:4px}
@media(max-width:640px){main{padding:18px 12px}.card{padding:16px}.facts th{width:auto}}
@media print{:root{--bg:#fff}body{font-size:11pt}main{max-width:none;padding:0}
.card,.tile{break-inside:avoid;border-color:#ccc}.incident{break-inside:auto}.steps li,tr{break-inside:avoid}
details:not([open])>*{display:revert}}
";
