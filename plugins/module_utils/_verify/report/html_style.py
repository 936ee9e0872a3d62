# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The style sheet of the HTML report: light and dark, wide and narrow, screen and paper."""

from __future__ import annotations

STYLE = """
:root{--page:#f4f5f7;--card:#fff;--text:#1b1f24;--soft:#59636e;--line:#d5dae0;
--passed:#116b34;--passed-bg:#dff4e5;--failed:#b3181c;--failed-bg:#fde3e3;--outage:#7a1fa2;--outage-bg:#f3e3fa;
--warning:#7d5200;--warning-bg:#fdf0cd;--skipped:#4d5761;--skipped-bg:#e7eaee;--link:#0b57d0}
@media (prefers-color-scheme:dark){:root{--page:#0f1216;--card:#181c22;--text:#e7eaee;--soft:#a1abb6;--line:#323a44;
--passed:#6fdc93;--passed-bg:#12321e;--failed:#ff9a9a;--failed-bg:#451a1c;--outage:#dfa5f7;--outage-bg:#371b45;
--warning:#f2c85b;--warning-bg:#3a2d0c;--skipped:#b3bcc6;--skipped-bg:#272d35;--link:#8ab4f8}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1rem}
h1{margin:0;font-size:1.9rem;line-height:1.15}h2{font-size:1.15rem;margin:0 0 .8rem}p{margin:.2rem 0}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
small,.note,.source,footer{color:var(--soft);font-size:.85rem}
section,.verdict{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.1rem;margin:0 0 1rem}
.verdict{display:flex;gap:1.1rem;align-items:center;border-left:10px solid}
.verdict .sign{font-size:2.6rem;line-height:1;margin:0;width:3.6rem;height:3.6rem;flex:none;border-radius:50%;
display:grid;place-items:center}
.verdict.passed{border-left-color:var(--passed)}.verdict.failed{border-left-color:var(--failed)}
.verdict.outage{border-left-color:var(--outage)}
.passed .sign,.badge.passed,.counts .passed{background:var(--passed-bg);color:var(--passed)}
.failed .sign,.badge.failed,.counts .failed{background:var(--failed-bg);color:var(--failed)}
.outage .sign,.badge.outage,.counts .outage{background:var(--outage-bg);color:var(--outage)}
.badge.warning,.counts .warning{background:var(--warning-bg);color:var(--warning)}
.badge.skipped,.counts .skipped{background:var(--skipped-bg);color:var(--skipped)}
.passed-text{color:var(--passed)}.failed-text{color:var(--failed)}.outage-text{color:var(--outage)}.warning-text{color:var(--warning)}
.counts{list-style:none;display:flex;flex-wrap:wrap;gap:.5rem;padding:0;margin:0 0 1rem}
.counts li{border-radius:999px;padding:.15rem .8rem}
.trust{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(17rem,100%),1fr));gap:1.2rem}
figure{margin:0}figcaption{font-weight:600;margin-top:.5rem}
svg{width:100%;max-width:26rem;height:auto;display:block}
svg text{fill:var(--text);font-family:inherit}svg .role,svg .detail{fill:var(--soft);font-size:11px}
svg .name{font-size:13px;font-weight:600}
.box rect{fill:var(--page);stroke:var(--line);stroke-width:1.5}.box.dashed rect{stroke-dasharray:5 4}
.box.leaf rect{stroke:var(--link);stroke-width:2}
.arrow line{stroke:var(--soft);stroke-width:1.5}.arrow path{fill:var(--soft)}
.arrow.broken line{stroke:var(--failed);stroke-dasharray:3 3}.arrow.broken path{fill:var(--failed)}
.bars{list-style:none;margin:0;padding:0;display:grid;gap:.9rem}
.label,.ends{display:flex;justify-content:space-between;gap:1rem}.label small{overflow-wrap:anywhere}
.label span:last-child{white-space:nowrap;font-weight:600}.ends{font-size:.78rem;color:var(--soft)}
.bar{height:.7rem;border-radius:999px;overflow:hidden;border:1px solid var(--line)}.bar span{display:block;height:100%}
.bar.passed{background:var(--passed-bg)}.bar.passed span{background:var(--passed)}
.bar.warning{background:var(--warning-bg)}.bar.warning span{background:var(--warning)}
.bar.failed{background:var(--failed-bg)}.bar.failed span{background:var(--failed)}
.check{border-top:1px solid var(--line)}.check:first-child{border-top:0}
.check summary{display:grid;grid-template-columns:6.6rem 4.2rem minmax(9rem,14rem) 1fr;gap:.6rem;align-items:baseline;
padding:.5rem .2rem;cursor:pointer;list-style:none}
.check summary::-webkit-details-marker{display:none}.check summary:focus-visible{outline:2px solid var(--link)}
.check summary:hover{background:var(--page)}
.check .id{font:.88rem ui-monospace,Menlo,Consolas,monospace;color:var(--soft)}.check .title{font-weight:600}
.check .observed{color:var(--soft);font-size:.9rem;overflow-wrap:anywhere}
.badge{border-radius:6px;padding:.05rem .5rem;font-size:.82rem;font-weight:600;white-space:nowrap;justify-self:start}
.body{padding:.2rem .2rem 1rem}.case{display:grid;grid-template-columns:6.6rem 1fr;gap:.6rem;padding:.45rem 0;
border-top:1px dashed var(--line);align-items:start}.case p{overflow-wrap:anywhere}.cases{margin-top:.5rem}
dl{margin:0}
dl div{display:grid;grid-template-columns:12rem 1fr;gap:.6rem;padding:.35rem 0;border-top:1px solid var(--line)}
dl div:first-child{border-top:0}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
footer{text-align:center;padding:.5rem 0 1.5rem}
@media (max-width:40rem){main{padding:.6rem}section,.verdict{padding:.8rem}
.check summary{grid-template-columns:auto 1fr;gap:.15rem .6rem}.check .title,.check .observed{grid-column:1/-1}
.case{grid-template-columns:1fr}dl div{grid-template-columns:1fr;gap:0}
.verdict .sign{width:2.8rem;height:2.8rem;font-size:1.9rem}}
@media print{:root{--page:#fff;--card:#fff;--text:#000;--soft:#444;--line:#bbb;--passed:#0b5a2a;--passed-bg:#fff;
--failed:#a00;--failed-bg:#fff;--outage:#6a1b9a;--outage-bg:#fff;--warning:#6b4500;--warning-bg:#fff;--skipped:#444;
--skipped-bg:#fff}html{font-size:12px}body{font-size:9.5pt}main{max-width:none;padding:0}
section,.verdict{break-inside:avoid-page;border-color:#999;-webkit-box-decoration-break:clone;box-decoration-break:clone}
section:has(.checks){break-inside:auto}h2,.check[open] summary,.body>p{break-after:avoid}
.check summary,.check:not([open]),.case,dl div{break-inside:avoid}.badge,.counts li{border:1px solid}
.bar,.bar span,.sign{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
