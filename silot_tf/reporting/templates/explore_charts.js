// Small line charts over frames, as SVG.
const SVG = "http://www.w3.org/2000/svg";

function svgElement(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

/** Numbers from 0 to `last`, at most `most` of them at an even step of 1, 2 or 5 times a power of ten. */
function ticks(last, most) {
  let step = 1;
  for (const factor of [1, 2, 5, 10, 20, 50, 100, 200]) {
    step = factor;
    if (last / factor < most) break;
  }
  return Array.from({ length: Math.floor(last / step) + 1 }, (_, i) => i * step);
}

/**
 * Draw a chart.
 * lines: [{values (from frame `first` on, null: gap), first, colour, width, dash, alpha}]
 * options: frames, now, unseen (first unseen frame or null), top (largest value), level (dotted line or null), go(frame)
 */
function drawChart(svg, lines, options) {
  const wide = svg.clientWidth || 300, high = svg.clientHeight || 190, last = Math.max(options.frames - 1, 1);
  const area = { left: 30, right: wide - 12, top: 12, bottom: high - 24 };
  const x = t => area.left + t / last * (area.right - area.left);
  const y = value => area.bottom - value / options.top * (area.bottom - area.top);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  if (options.unseen !== null && options.unseen < options.frames) {
    const left = x(Math.max(options.unseen - .5, 0));
    svgElement(svg, "rect", { x: left, y: area.top, width: area.right - left, height: area.bottom - area.top, fill: UNSEEN_COLOUR, opacity: .16 });
  }
  const levels = options.top > 1 ? ticks(options.top, 5) : [0, .5, 1];
  for (const value of levels) {
    svgElement(svg, "line", { x1: area.left, x2: area.right, y1: y(value), y2: y(value), stroke: "currentColor", opacity: .2 });
    svgElement(svg, "text", { x: area.left - 6, y: y(value) + 4, "text-anchor": "end" }, String(value));
  }
  for (const t of ticks(options.frames - 1, wide / 42)) {
    svgElement(svg, "text", { x: x(t), y: high - 7, "text-anchor": "middle" }, String(t));
  }
  if (options.level !== null) {
    svgElement(svg, "line", { x1: area.left, x2: area.right, y1: y(options.level), y2: y(options.level), stroke: "currentColor", "stroke-dasharray": "2 4", opacity: .8 });
  }
  for (const line of lines) {
    let path = "", open = false;
    line.values.forEach((value, i) => {
      if (value === null) { open = false; return; }
      path += `${open ? "L" : "M"}${x(line.first + i).toFixed(1)} ${y(value).toFixed(1)}`;
      open = true;
    });
    svgElement(svg, "path", { d: path || "M0 0", fill: "none", stroke: line.colour, "stroke-width": line.width, "stroke-dasharray": line.dash || "none", opacity: line.alpha ?? 1, "stroke-linejoin": "round", "stroke-linecap": "round" });
    const value = line.values[options.now - line.first];
    if (value !== undefined && value !== null) {
      svgElement(svg, "circle", { cx: x(options.now), cy: y(value), r: line.width + 1.5, fill: line.colour, opacity: line.alpha ?? 1 });
    }
  }
  svgElement(svg, "line", { x1: x(options.now), x2: x(options.now), y1: area.top, y2: area.bottom, stroke: "currentColor", opacity: .9 });
  svg.onclick = event => {
    const share = (event.clientX - svg.getBoundingClientRect().left - area.left) / (area.right - area.left);
    options.go(Math.round(Math.min(1, Math.max(0, share)) * (options.frames - 1)));
  };
}
