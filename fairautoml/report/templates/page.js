"use strict";
(() => {
  // Tables that only need to be sorted: what has no value comes last either way.
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const value = (row, at) => {
      const text = row.cells[at].textContent.trim();
      const found = at ? parseFloat(text) : text.toLowerCase();
      return Number.isNaN(found) ? Infinity : found;
    };
    heads.forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const left = value(a, at), right = value(b, at);
          if (left === right) return 0;
          if (left === Infinity || right === Infinity) return left === Infinity ? 1 : -1;
          return (left < right ? -1 : 1) * (up ? 1 : -1);
        });
        table.tBodies[0].append(...rows);
      });
      head.replaceChildren(button);
    });
  }
})();
(() => {
  const board = document.getElementById("board");
  if (!board) return;
  const PAGE = 25;
  const details = JSON.parse(document.getElementById("data").textContent);
  const heads = [...board.tHead.rows[0].cells];
  const names = heads.map((head) => head.textContent.trim());
  const rows = [...board.tBodies[0].rows];
  const cell = (row, at) => row.cells[at].textContent.trim();
  const value = (row, at) => {
    const text = cell(row, at);
    if (!heads[at].classList.contains("n")) return text.toLowerCase();
    const found = parseFloat(text);
    return Number.isNaN(found) ? Infinity : found;
  };
  const byId = (id) => document.getElementById(id);
  let first = 0;
  let shown = rows;

  const learners = [...new Set(rows.map((row) => cell(row, names.indexOf("learner"))))].sort();
  for (const name of learners) byId("learner").add(new Option(name, name));

  function draw() {
    first = Math.max(0, Math.min(first, Math.floor((shown.length - 1) / PAGE) * PAGE));
    const on = new Set(shown.slice(first, first + PAGE));
    const listed = new Set(shown);
    for (const row of rows) {
      row.hidden = !on.has(row);
      row.classList.toggle("paged", listed.has(row));
    }
    const last = Math.min(first + PAGE, shown.length);
    byId("where").textContent = shown.length
      ? `${first + 1} to ${last} of ${shown.length}` : "no classifier is like that";
    byId("before").disabled = first === 0;
    byId("after").disabled = last === shown.length;
  }

  function filter() {
    const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const learner = byId("learner").value;
    const feasible = byId("only-feasible").checked;
    const front = byId("only-front").checked;
    shown = rows.filter((row) => {
      const text = row.textContent.toLowerCase();
      return words.every((word) => text.includes(word))
        && (!learner || cell(row, names.indexOf("learner")) === learner)
        && (!feasible || cell(row, 1).startsWith("✓"))
        && (!front || row.hasAttribute("data-front"));
    });
    first = 0;
    draw();
  }

  function sort(at) {
    const up = heads[at].getAttribute("aria-sort") !== "ascending";
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[at].setAttribute("aria-sort", up ? "ascending" : "descending");
    rows.sort((a, b) => {
      const left = value(a, at), right = value(b, at);
      if (left === right) return a.dataset.rank - b.dataset.rank;
      // What has no value comes last either way.
      if (left === Infinity || right === Infinity) return left === Infinity ? 1 : -1;
      return (left < right ? -1 : 1) * (up ? 1 : -1);
    });
    board.tBodies[0].append(...rows);
    filter();
  }

  function pick(rank, scroll) {
    const row = rows.find((one) => one.dataset.rank === String(rank));
    if (!row) return;
    for (const old of document.querySelectorAll(".picked, .picked-row")) {
      old.classList.remove("picked", "picked-row");
    }
    row.classList.add("picked-row");
    const dot = document.querySelector(`g[data-rank="${CSS.escape(rank)}"] .dot`);
    if (dot) dot.classList.add("picked");
    const box = byId("detail");
    if (!box) return;
    const list = document.createElement("dl");
    const add = (name, text) => {
      const key = document.createElement("dt"), entry = document.createElement("dd");
      key.textContent = name;
      entry.textContent = text;
      list.append(key, entry);
    };
    names.forEach((name, at) => add(name, cell(row, at)));
    add("rule", details[rank].rule);
    add("how to get it", details[rank].how);
    box.replaceChildren(list);
    box.hidden = false;
    if (scroll) box.scrollIntoView({ block: "nearest" });
  }

  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = names[at];
    button.addEventListener("click", () => sort(at));
    head.replaceChildren(button);
  });
  for (const row of rows) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = row.dataset.rank;
    button.setAttribute("aria-label", `rank ${row.dataset.rank}: show what it is`);
    button.addEventListener("click", () => pick(row.dataset.rank, true));
    row.cells[0].replaceChildren(button);
  }
  for (const mark of document.querySelectorAll("g[data-rank]")) {
    mark.addEventListener("click", () => pick(mark.dataset.rank, false));
    mark.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        pick(mark.dataset.rank, false);
      }
    });
  }
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["find", "learner", "only-feasible", "only-front"]) {
    byId(id).addEventListener("input", filter);
  }
  byId("before").addEventListener("click", () => { first -= PAGE; draw(); });
  byId("after").addEventListener("click", () => { first += PAGE; draw(); });
  byId("controls").hidden = false;
  byId("pager").hidden = false;
  filter();
  pick(1, false);
})();
