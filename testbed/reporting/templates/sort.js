"use strict";
// A click on a column's heading sorts the table by it, another turns the order round; what is absent stays last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement;
    const body = heading.closest("table").tBodies[0];
    const turned = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", turned === 1 ? "ascending" : "descending");
    const cells = [...body.rows].map((row) => [row, row.cells[heading.cellIndex]]);
    const numeric = cells.some(([, cell]) => "value" in cell.dataset);
    const key = (cell) => (numeric ? ("value" in cell.dataset ? Number(cell.dataset.value) : null) : cell.textContent);
    const compare = (one, other) =>
      one === null || other === null
        ? (one === null) - (other === null)
        : turned * (numeric ? one - other : one.localeCompare(other, "en", { numeric: true }));
    cells.sort(([, one], [, other]) => compare(key(one), key(other)));
    body.append(...cells.map(([row]) => row));
  });
}
