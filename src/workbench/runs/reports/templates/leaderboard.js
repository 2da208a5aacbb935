"use strict";
const table = document.getElementById("runs");
const body = table.tBodies[0];
const key = (row, column) => row.cells[column].dataset.key;
const compare = (a, b) => {
  const numbers = [Number(a), Number(b)];
  if (numbers.some(Number.isNaN)) return a.localeCompare(b, "en", { numeric: true });
  return numbers[0] - numbers[1];
};
Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
  const button = document.createElement("button");
  button.append(...head.childNodes);
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const missing = (row) => key(row, column) === "None";
    const rows = Array.from(body.rows).sort(
      (a, b) => missing(a) - missing(b)
        || compare(key(a, column), key(b, column)) * (down ? -1 : 1));
    body.append(...rows);
  });
});
const filter = document.getElementById("filter");
const show = () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("count").textContent = `${shown} of ${body.rows.length}`;
};
filter.addEventListener("input", show);
show();
