// Draws one panel of a scene on a canvas. Nothing here knows of widgets: numbers in, pixels out.
// A panel is {title, xlabel, ylabel, extent: [x0, x1, y0, y1], equal, clickable, layers: [{kind, ...}, ...]}.

const INK = "#222222", GRID = "#8a8a8a", FONT = "12px system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif";
const SHAPE = 1.2; // width to height of axes that are free in it

const isHeat = (layer) => layer.kind === "heat";

function shapeOf(panel) {
  const [x0, x1, y0, y1] = panel.extent;
  return panel.equal ? (x1 - x0) / (y1 - y0) : SHAPE;
}

// Room around the axes, in CSS pixels, for numbers, words and the color bar.
function marginsOf(panel) {
  const heat = panel.layers.some(isHeat);
  return {
    left: panel.ylabel ? 52 : 10,
    right: heat ? 68 : 12,
    top: 10,
    bottom: panel.xlabel ? 44 : panel.layers.some((l) => l.kind === "bars" && l.labels.length) ? 24 : 10,
  };
}

// Where things are: the axes' box inside the canvas, and the ways between data and pixels.
function boxOf(panel, height) {
  const m = marginsOf(panel), width = height * shapeOf(panel);
  const [x0, x1, y0, y1] = panel.extent;
  return {
    ...m, w: width, h: height,
    width: Math.ceil(m.left + width + m.right), height: Math.ceil(m.top + height + m.bottom),
    px: (x) => m.left + ((x - x0) / (x1 - x0)) * width,
    py: (y) => m.top + ((y1 - y) / (y1 - y0)) * height,
    x: (px) => x0 + ((px - m.left) / width) * (x1 - x0),
    y: (py) => y1 - ((py - m.top) / height) * (y1 - y0),
  };
}

// Round numbers between two ends, about `count` of them: steps of 1, 2 or 5 times a power of ten.
function ticksOf(low, high, count = 5) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((s) => s * power >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
  return { found, text: (v) => numberText(v, step) };
}

function numberText(value, step) {
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  const long = Math.abs(value) >= 1e5 || digits > 4;
  return (long ? value.toExponential(1) : value.toFixed(digits)).replace("-", "\u2212");
}

// Pictures -----------------------------------------------------------------------------------------------------

// A field or an image as a small canvas of its own, made once for each content.
function pictureOf(layer, images, palette, made) {
  const key = `${layer.kind}-${layer.image}-${layer.columns}`;
  if (made.has(key)) return made.get(key);
  const bytes = images[layer.image];
  if (!bytes) return null; // still on its way
  const level = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const small = document.createElement("canvas");
  small.width = layer.columns;
  small.height = layer.rows;
  const data = new ImageData(layer.columns, layer.rows);
  for (let i = 0; i < level.length; i++) {
    const v = level[i];
    if (layer.kind === "heat") data.data.set([palette[3 * v], palette[3 * v + 1], palette[3 * v + 2]], 4 * i);
    else data.data.fill(v, 4 * i, 4 * i + 3);
    data.data[4 * i + 3] = layer.kind === "heat" && v === 255 ? 0 : 255;
  }
  small.getContext("2d").putImageData(data, 0, 0);
  if (made.size > 64) made.clear();
  made.set(key, small);
  return small;
}

const DRAW = {
  heat(ctx, layer, box, panel, art) {
    const small = pictureOf(layer, art.images, art.palette, art.made);
    if (!small) return;
    const right = box.w / Math.max(layer.columns - 1, 1) / 2, up = box.h / Math.max(layer.rows - 1, 1) / 2;
    ctx.imageSmoothingEnabled = true;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(small, box.left - right, box.top - up, box.w + 2 * right, box.h + 2 * up); // corners on edges
  },
  gray(ctx, layer, box, panel, art) {
    const small = pictureOf(layer, art.images, art.palette, art.made);
    if (!small) return;
    const [x0, x1, y0, y1] = layer.extent;
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(small, box.px(x0), box.py(y1), box.px(x1) - box.px(x0), box.py(y0) - box.py(y1));
  },
  line(ctx, layer, box) {
    ctx.beginPath();
    let down = false;
    for (const [x, y] of layer.points) {
      if (x === null || y === null) down = false;
      else if (down) ctx.lineTo(box.px(x), box.py(y));
      else {
        ctx.moveTo(box.px(x), box.py(y));
        down = true;
      }
    }
    ctx.setLineDash(layer.dashed ? [6, 4] : []);
    Object.assign(ctx, { strokeStyle: layer.color, lineWidth: layer.width, lineJoin: "round" });
    ctx.stroke();
    ctx.setLineDash([]);
  },
  dots(ctx, layer, box) {
    ctx.beginPath();
    for (const [x, y] of layer.points) {
      if (x === null || y === null) continue;
      ctx.moveTo(box.px(x) + layer.size / 2, box.py(y));
      ctx.arc(box.px(x), box.py(y), layer.size / 2, 0, 2 * Math.PI);
    }
    ctx.fillStyle = layer.color;
    ctx.fill();
    if (layer.size >= 6) {
      Object.assign(ctx, { strokeStyle: "#ffffff", lineWidth: 1 });
      ctx.stroke();
    }
  },
  bars(ctx, layer, box) {
    ctx.fillStyle = layer.color;
    layer.heights.forEach((h, i) => {
      if (h !== null) ctx.fillRect(box.px(i - 0.4), box.py(0), box.px(i + 0.4) - box.px(i - 0.4), box.py(h) - box.py(0));
    });
  },
  handle() {}, // an element of the page, so that the keyboard reaches it
};

// Axes ---------------------------------------------------------------------------------------------------------

function drawAxes(ctx, panel, box) {
  const [x0, x1, y0, y1] = panel.extent, bottom = box.top + box.h;
  Object.assign(ctx, { strokeStyle: GRID, fillStyle: INK, lineWidth: 1, font: FONT });
  const bars = panel.layers.find((l) => l.kind === "bars" && l.labels.length);
  ctx.beginPath();
  if (panel.xlabel || panel.ylabel || bars) {
    ctx.moveTo(box.left, box.top);
    ctx.lineTo(box.left, bottom);
    ctx.lineTo(box.left + box.w, bottom);
  }
  Object.assign(ctx, { textAlign: "center", textBaseline: "top" });
  if (bars) bars.labels.forEach((word, i) => ctx.fillText(word, box.px(i), bottom + 6));
  else if (panel.xlabel) {
    const { found, text } = ticksOf(x0, x1, Math.max(2, Math.min(5, box.w / 50)));
    for (const v of found) {
      ctx.moveTo(box.px(v), bottom);
      ctx.lineTo(box.px(v), bottom + 4);
      ctx.fillText(text(v), box.px(v), bottom + 7);
    }
  }
  if (panel.xlabel) ctx.fillText(panel.xlabel, box.left + box.w / 2, bottom + 26);
  if (panel.ylabel) {
    Object.assign(ctx, { textAlign: "right", textBaseline: "middle" });
    const { found, text } = ticksOf(y0, y1);
    for (const v of found) {
      ctx.moveTo(box.left, box.py(v));
      ctx.lineTo(box.left - 4, box.py(v));
      ctx.fillText(text(v), box.left - 7, box.py(v));
    }
    upright(ctx, panel.ylabel, 9, box.top + box.h / 2);
  }
  ctx.stroke();
}

function drawColorBar(ctx, heat, box, palette) {
  const left = box.left + box.w + 10, wide = 10;
  const colors = ctx.createLinearGradient(0, box.top + box.h, 0, box.top);
  for (let i = 0; i <= 8; i++) {
    const k = 3 * Math.round((i / 8) * 254);
    colors.addColorStop(i / 8, `rgb(${palette[k]}, ${palette[k + 1]}, ${palette[k + 2]})`);
  }
  ctx.fillStyle = colors;
  ctx.fillRect(left, box.top, wide, box.h);
  Object.assign(ctx, { fillStyle: INK, textAlign: "left", textBaseline: "middle", font: FONT });
  const { found, text } = ticksOf(heat.low, heat.high);
  for (const v of found) {
    ctx.fillText(text(v), left + wide + 4, box.top + box.h * (1 - (v - heat.low) / (heat.high - heat.low)));
  }
  upright(ctx, heat.label, box.left + box.w + 60, box.top + box.h / 2);
}

function upright(ctx, words, x, y) {
  ctx.save();
  ctx.translate(x, y);
  ctx.rotate(-Math.PI / 2);
  Object.assign(ctx, { textAlign: "center", textBaseline: "middle" });
  ctx.fillText(words, 0, 0);
  ctx.restore();
}

// art is {images, palette, made}; cursor a place in data, where the keyboard would click, or null.
function drawPanel(canvas, panel, box, art, cursor) {
  const ratio = window.devicePixelRatio || 1;
  const wide = Math.round(box.width * ratio), high = Math.round(box.height * ratio);
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  Object.assign(canvas.style, { width: `${box.width}px`, height: `${box.height}px` });
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.fillStyle = "#ffffff";
  ctx.fillRect(0, 0, box.width, box.height);
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.left, box.top, box.w, box.h);
  ctx.clip();
  for (const layer of panel.layers) DRAW[layer.kind](ctx, layer, box, panel, art);
  if (cursor) {
    const px = box.px(cursor.x), py = box.py(cursor.y);
    for (const [color, width] of [["#ffffff", 4], [INK, 1.5]]) {
      Object.assign(ctx, { strokeStyle: color, lineWidth: width });
      ctx.beginPath();
      for (const [dx, dy] of [[9, 0], [0, 9]]) {
        ctx.moveTo(px - dx, py - dy);
        ctx.lineTo(px + dx, py + dy);
      }
      ctx.stroke();
    }
  }
  ctx.restore();
  drawAxes(ctx, panel, box);
  const heat = panel.layers.find(isHeat);
  if (heat) drawColorBar(ctx, heat, box, art.palette);
}
