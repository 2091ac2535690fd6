"use strict";
// Drawing on canvases: frames, boxes, paths, cut-outs. Lengths are pixels of the clip until `Panel` scales them.
const BOX_UNITS = 10000;
const TRUTH_COLOUR = "#ffffff", BASELINE_COLOUR = "#b9c4d0", UNSEEN_COLOUR = "#ffb020", HALO = "rgba(8, 11, 15, .75)";

/** Box of a track in frame `t` as {y, x, h, w} (centre and size in pixels of the clip), or null. */
function boxAt(track, t, size) {
  const box = track.boxes[t - track.first];
  if (!box) return null;
  const [y, x, h, w] = box;
  return { y: y / BOX_UNITS * size[0], x: x / BOX_UNITS * size[1], h: h / BOX_UNITS * size[0], w: w / BOX_UNITS * size[1] };
}

/** Whether the object counts as there in frame `t`. */
function isShown(track, t) {
  return track.shown[t - track.first] === 1;
}

/** A canvas, cleared and sized in pixels of the screen, that shows the region {top, left, height, width} of a clip. */
class Panel {
  constructor(canvas, region) {
    this.ratio = window.devicePixelRatio || 1;
    const wide = Math.max(1, Math.round(canvas.clientWidth * this.ratio));
    const high = Math.max(1, Math.round(canvas.clientHeight * this.ratio));
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    this.context = canvas.getContext("2d");
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.clearRect(0, 0, wide, high);
    this.place(region, { left: 0, top: 0, width: wide, height: high });
  }

  /** From here on the region is drawn into the rectangle `target` of the canvas. */
  place(region, target) {
    this.region = region;
    this.target = target;
    this.scale = Math.min(target.width / region.width, target.height / region.height);
  }

  x(value) { return this.target.left + (value - this.region.left) * this.scale; }
  y(value) { return this.target.top + (value - this.region.top) * this.scale; }

  /** Frame `t` of a loaded sheet, as far as it lies in the region; nothing where the sheet does not have it. */
  frame(sheet, t, size) {
    const index = t - sheet.first;
    if (index < 0 || !sheet.image) return;
    const [high, wide] = size, { top, left, height, width } = this.region;
    const y0 = Math.max(0, top), x0 = Math.max(0, left);
    const y1 = Math.min(high, top + height), x1 = Math.min(wide, left + width);
    if (y1 <= y0 || x1 <= x0) return;
    const row = Math.floor(index / sheet.columns), column = index % sheet.columns;
    this.context.imageSmoothingEnabled = this.scale < 1;
    this.context.drawImage(
      sheet.image, column * wide + x0, row * high + y0, x1 - x0, y1 - y0,
      this.x(x0), this.y(y0), (x1 - x0) * this.scale, (y1 - y0) * this.scale);
  }

  /** Amber edge and dimmed picture: the model does not look at this frame. */
  unseen(dimmed) {
    const { width, height } = this.context.canvas, line = 4 * this.ratio;
    if (dimmed) { this.context.fillStyle = "rgba(8, 11, 15, .5)"; this.context.fillRect(0, 0, width, height); }
    this.context.strokeStyle = UNSEEN_COLOUR;
    this.context.lineWidth = line;
    this.context.setLineDash([]);
    this.context.strokeRect(line / 2, line / 2, width - line, height - line);
  }

  /** Outline of a box; `style` has colour, width (CSS pixels), dash, alpha. */
  box(box, style) {
    const context = this.context;
    const rectangle = [this.x(box.x - box.w / 2), this.y(box.y - box.h / 2), box.w * this.scale, box.h * this.scale];
    context.globalAlpha = style.alpha ?? 1;
    context.setLineDash((style.dash || []).map(n => n * this.ratio));
    if (style.halo) {
      context.strokeStyle = HALO;
      context.lineWidth = (style.width + 2) * this.ratio;
      context.strokeRect(...rectangle);
    }
    context.strokeStyle = style.colour;
    context.lineWidth = style.width * this.ratio;
    context.strokeRect(...rectangle);
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** Text on a patch of colour at the upper left corner of a box (`below`: at the lower left one). */
  tag(box, text, colour, below) {
    const context = this.context, size = 12 * this.ratio, { left, top, width, height } = this.target, region = this.region;
    const apart = (centre, length, start, extent) => centre + length / 2 < start || centre - length / 2 > start + extent;
    if (apart(box.y, box.h, region.top, region.height) || apart(box.x, box.w, region.left, region.width)) return;
    context.font = `600 ${size}px system-ui, sans-serif`;
    const wide = context.measureText(text).width + 7 * this.ratio, high = size + 4 * this.ratio;
    const x = Math.max(left, Math.min(this.x(box.x - box.w / 2), left + width - wide));
    const wanted = below ? this.y(box.y + box.h / 2) : this.y(box.y - box.h / 2) - high;
    const y = Math.max(top, Math.min(wanted, top + height - high));
    context.fillStyle = colour;
    context.fillRect(x, y, wide, high);
    context.fillStyle = "#000";
    context.textBaseline = "middle";
    context.fillText(text, x + 3.5 * this.ratio, y + high / 2 + this.ratio / 2);
  }

  /** Path of a track's centre: strong up to frame `t`, faint after it, with a ring where it begins. */
  path(track, t, size, style) {
    const context = this.context;
    const points = track.boxes.map((_, i) => isShown(track, track.first + i) ? boxAt(track, track.first + i, size) : null);
    context.strokeStyle = style.colour;
    context.lineJoin = "round";
    for (const [from, to, alpha] of [[0, t - track.first, 1], [t - track.first, points.length - 1, .3]]) {
      context.globalAlpha = alpha * (style.alpha ?? 1);
      context.lineWidth = style.width * this.ratio;
      context.beginPath();
      let drawing = false;
      for (let i = Math.max(from, 0); i <= Math.min(to, points.length - 1); i++) {
        if (!points[i]) { drawing = false; continue; }
        context[drawing ? "lineTo" : "moveTo"](this.x(points[i].x), this.y(points[i].y));
        drawing = true;
      }
      context.stroke();
    }
    const start = points.find(point => point);
    if (start && track.first <= t) {
      context.globalAlpha = style.alpha ?? 1;
      context.beginPath();
      context.arc(this.x(start.x), this.y(start.y), 3.5 * this.ratio, 0, 7);
      context.fillStyle = "#14181e";
      context.fill();
      context.stroke();
    }
    context.globalAlpha = 1;
  }
}

/** Square region around a box, `margin` times its larger side. */
function regionAround(box, margin, least = 6) {
  const side = Math.max(box.h, box.w, least / margin) * margin;
  return { top: box.y - side / 2, left: box.x - side / 2, height: side, width: side };
}

/** What is cut out around a box. */
function cutRegion(box) { return regionAround(box, 1.08); }

/** Cut-outs of frames under a box side by side or in a grid: `cells` are {sheet, t, box, target} in canvas pixels. */
function drawCuts(panel, cells, size) {
  for (const { sheet, t, box, target } of cells) {
    if (!box) continue;
    panel.place(cutRegion(box), target);
    panel.frame(sheet, t, size);
  }
}
