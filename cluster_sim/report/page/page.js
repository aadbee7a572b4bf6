"use strict";
// Light and dark: the button overrides what the system asks for.
const root = document.documentElement;
const button = document.getElementById("theme");
const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const showTheme = () => { button.textContent = isDark() ? "Light colours" : "Dark colours"; };
button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; showTheme(); });
button.hidden = false;
showTheme();

// Values under the pointer, read back from the paths of a chart.
const scaleOf = (text) => {
  const [low, high, kind, unit] = text.split(" ");
  const [a, b] = [Number(low), Number(high)];
  return {
    unit,
    value: (place) => kind === "log" ? a * (b / a) ** place : a + (b - a) * place,
  };
};
const digits = (value) => Math.abs(value) >= 999.5 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
const textOf = (value, unit) => {
  if (unit === "%") return `${(100 * value).toFixed(1)}%`;
  if (unit !== "s") return digits(value) + (unit ? ` ${unit}` : "");
  const size = Math.abs(value);
  if (size >= 1e4) return `${(value / 3600).toFixed(2)} h`;
  return size >= 1 || !size ? `${digits(value)} s` : size >= 1e-3 ? `${digits(value * 1e3)} ms` : `${digits(value * 1e6)} us`;
};
const pointsOf = (path) => {
  const points = [];
  for (const [, command, numbers] of path.getAttribute("d").matchAll(/([MLHV])([^MLHVh]*)/g)) {
    const [first, second] = numbers.trim().split(" ").map(Number);
    const last = points[points.length - 1];
    if (command === "H") points.push([first, last[1]]);
    else if (command === "V") points[points.length - 1] = [last[0], first];
    else points.push([first, second]);
  }
  return points;
};
const nearest = (points, x) => {
  let low = 0;
  let high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < x) low = middle + 1; else high = middle;
  }
  return low && x - points[low - 1][0] < points[low][0] - x ? points[low - 1] : points[low];
};
for (const plot of document.querySelectorAll(".plot:not(.map)")) {
  const drawing = plot.querySelector("svg");
  const paths = [...plot.querySelectorAll("path[data-name]")];
  if (!paths.length) continue;
  const [x, y] = [scaleOf(drawing.dataset.x), scaleOf(drawing.dataset.y)];
  const cross = document.createElement("div");
  const tip = document.createElement("div");
  cross.className = "cross";
  tip.className = "tip";
  let lines = null;
  const hide = () => { cross.remove(); tip.remove(); };
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("pointermove", (event) => {
    lines ??= paths.map((path) => ({ name: path.dataset.name, points: pointsOf(path) })).filter((line) => line.points.length);
    if (!lines.length) return;
    const box = plot.getBoundingClientRect();
    const place = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const found = lines.map((line) => ({ name: line.name, point: nearest(line.points, place * 1000) }));
    const at = found.reduce((a, b) => Math.abs(a.point[0] - place * 1000) <= Math.abs(b.point[0] - place * 1000) ? a : b).point[0];
    tip.replaceChildren(textOf(x.value(at / 1000), x.unit), ...found.flatMap((line) =>
      [document.createElement("br"), `${line.name}: ${textOf(y.value(1 - line.point[1] / 1000), y.unit)}`]));
    cross.style.left = `${at / 10}%`;
    tip.style.left = at < 500 ? `calc(${at / 10}% + 8px)` : "auto";
    tip.style.right = at < 500 ? "auto" : `calc(${100 - at / 10}% + 8px)`;
    plot.append(cross, tip);
  });
}

// Tables that sort by the column whose title is pressed.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const valueOf = (row, index) => {
    const cell = row.cells[index];
    const value = cell.querySelector("[data-value]");
    return value ? Number(value.dataset.value) : cell.textContent;
  };
  heads.forEach((head, index) => head.querySelector("button").addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    const isNumber = (value) => typeof value === "number";
    rows.sort((a, b) => {
      const [left, right] = [valueOf(a, index), valueOf(b, index)];
      if (isNumber(left) !== isNumber(right)) return isNumber(left) ? -1 : 1;
      return sign * (isNumber(left) ? left - right : left.localeCompare(right, "en", { numeric: true }));
    });
    table.tBodies[0].append(...rows);
  }));
}
