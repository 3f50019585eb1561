"use strict";
(() => {
  // Tables: a click on a column's head sorts by it.
  const valueOf = (row, index) => {
    const cell = row.cells[index];
    const shown = cell.querySelector("[data-measure]:not([hidden])") ?? cell;
    if (shown.dataset.sort === undefined) return cell.textContent.trim();
    const number = Number(shown.dataset.sort);
    return Number.isNaN(number) ? null : number;
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  const sort = (head, descending) => {
    const body = head.closest("table").tBodies[0];
    const index = head.cellIndex;
    const rows = [...body.rows].map((row) => [valueOf(row, index), row]);
    // Cells without a value come last either way.
    rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : (descending ? -1 : 1) * compare(a, b)));
    body.append(...rows.map(([, row]) => row));
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  };
  for (const head of document.querySelectorAll("table[data-sortable] thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, head.getAttribute("aria-sort") === "ascending"));
  }

  // The table of cases shows one measure at a time.
  const choice = document.getElementById("measure");
  const table = document.getElementById("case-table");
  if (choice && table) {
    const show = () => {
      for (const value of table.querySelectorAll("[data-measure]")) value.hidden = value.dataset.measure !== choice.value;
      for (const cell of table.querySelectorAll("td.bar")) {
        const shown = cell.querySelector("[data-measure]:not([hidden])");
        cell.style.setProperty("--v", shown?.dataset.bar ?? "0%");
      }
      const sorted = table.querySelector("thead th[aria-sort]");
      if (sorted) sort(sorted, sorted.getAttribute("aria-sort") === "descending");
    };
    choice.addEventListener("change", show);
    choice.closest(".choose").hidden = false;
    show();
  }

  // Long lists of classes are searched: rows, charts, and columns of the table of cases.
  const columnsOf = (section) =>
    [...section.querySelectorAll("thead th")].slice(2).map((head) => {
      const cells = [...head.closest("table").rows].map((row) => row.cells[head.cellIndex]);
      return [head.textContent.trim(), cells];
    });
  const namedIn = (section) => {
    const named = new Map();
    for (const part of section.querySelectorAll("[data-name]")) {
      if (!part.closest("tfoot")) named.set(part.dataset.name, [...(named.get(part.dataset.name) ?? []), part]);
    }
    return [...named];
  };
  for (const input of document.querySelectorAll("[data-find]")) {
    const section = document.getElementById(input.dataset.find);
    const classes = input.dataset.columns === undefined ? namedIn(section) : columnsOf(section);
    const status = input.parentElement.querySelector("[role=status]");
    input.addEventListener("input", () => {
      const text = input.value.trim().toLowerCase();
      const found = classes.filter(([name]) => name.toLowerCase().includes(text));
      for (const [, parts] of classes) for (const part of parts) part.hidden = true;
      for (const [, parts] of found) for (const part of parts) part.hidden = false;
      status.textContent = text ? `${found.length} of ${classes.length} classes shown` : "";
    });
    input.closest(".choose").hidden = false;
  }

  // Contents: the section that is read is marked.
  const contents = document.querySelector(".contents ul");
  const sections = [...contents.querySelectorAll("a")].map((link) => [
    link,
    document.getElementById(decodeURIComponent(link.hash.slice(1))),
  ]);
  const markSection = () => {
    const top = contents.getBoundingClientRect().bottom;
    const left = document.documentElement.scrollHeight - innerHeight - scrollY;
    // A quarter down the screen; further down near the page's end, whose last sections never come to the top.
    const line = top + (innerHeight - top) * Math.max(0.25, 1 - Math.max(0, left) / innerHeight);
    const [current] = sections.findLast(([, section]) => section.getBoundingClientRect().top <= line) ?? [null];
    for (const [link] of sections) {
      if (link === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    if (!current) return;
    const [before, after] = [contents.getBoundingClientRect(), current.getBoundingClientRect()];
    if (after.left < before.left) contents.scrollLeft -= before.left - after.left;
    if (after.right > before.right) contents.scrollLeft += after.right - before.right;
  };
  let frame = null;
  const markSoon = () => {
    frame ??= requestAnimationFrame(() => {
      frame = null;
      markSection();
    });
  };
  addEventListener("scroll", markSoon, { passive: true });
  addEventListener("resize", markSoon);
  markSection();

  // Charts: the case under the pointer is marked in all of them, and a click opens it in the slice browser.
  const linkOf = new Map([...document.querySelectorAll("#case-table a")].map((link) => [link.getAttribute("href"), link]));
  const marks = new Map();
  for (const mark of document.querySelectorAll(".mark")) {
    marks.set(mark.dataset.case, [...(marks.get(mark.dataset.case) ?? []), mark]);
    const same = (on) => () => marks.get(mark.dataset.case).forEach((other) => other.classList.toggle("same", on));
    mark.addEventListener("pointerenter", same(true));
    mark.addEventListener("pointerleave", same(false));
    const link = linkOf.get(mark.dataset.href);
    if (link) mark.addEventListener("click", () => link.click());
  }
})();
