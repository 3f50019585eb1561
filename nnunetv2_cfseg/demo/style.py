"""The report's style sheet: light or dark as the reader's screen, and narrow enough for a phone."""

STYLE = """
:root { --ink: #1c1e21; --paper: #ffffff; --faint: #5b6470; --line: #d5d9df; --panel: #f3f5f7; --accent: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --paper: #14171a; --faint: #a0a8b3; --line: #363c44; --panel: #1f2429; --accent: #7db8f2; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { font-size: 1.25rem; margin-top: 2.2rem; }
a { color: var(--accent); }
.headline { font-size: 1.15rem; }
.headline strong { color: var(--accent); font-size: 1.4rem; }
.note { border-left: 4px solid var(--accent); padding-left: 0.8rem; color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; color: var(--faint); font-weight: 600; }
th:first-child { text-align: left; }
tfoot > tr > * { font-weight: 600; }
figure { margin: 1.2rem 0; }
figure img { width: 100%; min-width: 40rem; display: block; border-radius: 6px; }
figcaption { color: var(--faint); margin-top: 0.3rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.88em; }
pre { background: var(--panel); padding: 0.9rem; border-radius: 6px; overflow-x: auto; user-select: all; }
"""
