// Appearance of the followed object, frame by frame: cut-outs, and what is decoded of it alone. Lengths are CSS pixels.
const CELL = 53, GAP = 4, COLUMN = 62, LABEL = 15;
const SQUARE = 6, SQUARES = ["#7f8994", "#59626d"]; // of the checkerboard
const CUTS_CAPTION = "Appearance frame by frame, cut out under the box: input above, reconstruction below";
const SPRITES_CAPTION = "Appearance frame by frame, under the box: input, reconstruction, and the object decoded alone (checkerboard where it is clear)";

/** Frames whose cut-outs fit side by side, around the current one. */
function appearanceFrames() {
  const fits = Math.max(1, Math.floor((byId("appearance").clientWidth - GAP) / COLUMN)), frames = clip().frames;
  const start = Math.max(0, Math.min(state.frame - Math.floor(fits / 2), frames - fits));
  return Array.from({ length: Math.min(fits, frames) }, (_, i) => start + i);
}

/** The frame drawn at `x`, if there is one. */
function appearanceFrameAt(x) { return appearanceFrames()[Math.floor((x - GAP) / COLUMN)]; }

/** One column per frame; the row of sprites is left out where none were recorded. */
function drawAppearance(track) {
  const canvas = byId("appearance"), sprites = track.sprites, rows = sprites ? 3 : 2;
  if (sprites && !sprites.loading) load(sprites).then(show);
  byId("appearance-caption").textContent = sprites ? SPRITES_CAPTION : CUTS_CAPTION;
  canvas.style.height = `${GAP / 2 + rows * (CELL + GAP) + LABEL}px`;
  const panel = new Panel(canvas, { top: 0, left: 0, height: 1, width: 1 }), { ratio, context } = panel;
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.textAlign = "center";
  appearanceFrames().forEach((t, column) => {
    const left = GAP + column * COLUMN, box = boxAt(track, t, clip().size), dimming = isShown(track, t) ? 1 : .45;
    const target = row => ({ left: left * ratio, top: (GAP / 2 + row * (CELL + GAP)) * ratio, width: CELL * ratio, height: CELL * ratio });
    context.globalAlpha = dimming;
    drawCuts(panel, [clip().input, sheetAt(t)].map((sheet, row) => ({ sheet, t, box, target: target(row) })), clip().size);
    context.globalAlpha = 1;
    if (sprites && box) drawSprite(panel, sprites, t, box, target(2), dimming);
    context.fillStyle = t === state.frame ? "#fff" : isUnseen(t) ? UNSEEN_COLOUR : "#aab4c0";
    context.fillText(t === state.frame ? `▸${t}` : String(t), (left + CELL / 2) * ratio, canvas.height - 4 * ratio);
    if (t === state.frame) {
      context.strokeStyle = track.colour;
      context.lineWidth = 2 * ratio;
      context.strokeRect((left - 1) * ratio, ratio, (CELL + 2) * ratio, (rows * (CELL + GAP) - GAP + 2) * ratio);
    }
  });
  canvas.setAttribute("aria-label", `Appearance of object ${track.id} in ${clip().frames} frames`);
}

/** The sprite of frame `t` on a checkerboard, stretched to the box, which lies where it does in cut-outs. */
function drawSprite(panel, sheet, t, box, target, dimming) {
  const { context, ratio } = panel, index = t - sheet.first, [high, wide] = sheet.size;
  if (!sheet.image) return;
  panel.place(cutRegion(box), target);
  const [left, right] = [-1, 1].map(side => Math.round(panel.x(box.x + side * box.w / 2)));
  const [top, bottom] = [-1, 1].map(side => Math.round(panel.y(box.y + side * box.h / 2)));
  const width = right - left, height = bottom - top, side = SQUARE * ratio;
  if (width < 1 || height < 1) return;
  for (let y = 0; y * side < height; y++) {
    for (let x = 0; x * side < width; x++) {
      context.fillStyle = SQUARES[(x + y) % 2];
      context.fillRect(left + x * side, top + y * side, Math.min(side, width - x * side), Math.min(side, height - y * side));
    }
  }
  context.imageSmoothingEnabled = width < wide || height < high;
  context.drawImage(sheet.image, index % sheet.columns * wide, Math.floor(index / sheet.columns) * high, wide, high, left, top, width, height);
  if (dimming < 1) { // at once, so that the checkerboard does not shine through what is opaque
    context.globalCompositeOperation = "destination-out";
    context.globalAlpha = 1 - dimming;
    context.fillRect(left, top, width, height);
    context.globalCompositeOperation = "source-over";
    context.globalAlpha = 1;
  }
}
