// The page around the canvases: controls, handles, keyboard, and the talk with Python.
//
// What the reader does goes into a queue; a newer value of the same thing replaces an older one that has not
// left yet. One message at a time is under way: the next leaves when Python has answered the last. While "play"
// is on, every message ends with a tick. Python's answer is a new frame, drawn at the next animation frame.

const PATIENCE = 10000; // ms after which an answer is no longer waited for

function make(tag, className, attributes = {}) {
  const element = document.createElement(tag);
  element.className = className;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// Python's end of the line.
class Talk {
  constructor(model, root) {
    Object.assign(this, { model, root, queue: new Map(), flight: null, playing: false, last: 0, count: 0 });
    this.me = Math.random().toString(36).slice(2);
    this.wake = () => this.send();
  }
  say(key, event) {
    this.queue.delete(key); // so that the newest comes last
    this.queue.set(key, event);
    this.send();
  }
  send() {
    const now = performance.now();
    if (this.flight && now - this.flight.since < PATIENCE) return;
    const due = this.last + 1000 * this.model.get("frame").pace;
    const events = [...this.queue.values()];
    if (this.playing && now >= due) {
      events.push({ do: "tick" });
      this.last = now;
    }
    if (!events.length && !this.playing) this.rest();
    if (!events.length) {
      if (this.playing) setTimeout(this.wake, due - now);
      return;
    }
    this.queue.clear();
    this.root.dataset.idle = "false";
    this.flight = { id: `${this.me}-${this.count++}`, since: now };
    this.model.send({ kind: "explore", id: this.flight.id, events });
  }
  heard(frame) {
    if (!this.flight || frame.answered !== this.flight.id) return; // another view's
    this.flight = null;
    if (frame.more === false) this.play(false);
    else requestAnimationFrame(this.wake);
  }
  rest() {
    this.root.dataset.idle = String(!this.queue.size && !this.flight && !this.playing);
  }
  play(on) {
    this.playing = on;
    this.onplay?.(on);
    this.send();
  }
}

// Controls -----------------------------------------------------------------------------------------------------

const PARTS = 400; // places of a slider that has no steps

function placesOf(c) {
  if (c.step !== null) {
    return { parts: Math.round((c.high - c.low) / c.step), at: (p) => c.low + p * c.step, of: (v) => (v - c.low) / c.step };
  }
  const [a, b] = c.log ? [Math.log(c.low), Math.log(c.high)] : [c.low, c.high];
  const back = (v) => Math.min(Math.max(c.log ? Math.exp(v) : v, c.low), c.high);
  return { parts: PARTS, at: (p) => back(a + (p / PARTS) * (b - a)), of: (v) => (((c.log ? Math.log(v) : v) - a) / (b - a)) * PARTS };
}

const short = (v) => String(Number(v.toPrecision(4))).replace("-", "\u2212");

const CONTROLS = {
  slider(c, talk) {
    const label = make("label", "ebm-control"), words = make("span", "ebm-label");
    const range = make("input", "ebm-range", { type: "range", min: 0, step: 1 }), out = make("output", "ebm-value");
    label.append(words, range, out);
    let places, now = c;
    range.addEventListener("input", () => {
      const value = places.at(Number(range.value));
      out.textContent = short(value);
      range.setAttribute("aria-valuetext", short(value));
      talk.say(`set ${now.name}`, { do: "set", name: now.name, value });
    });
    const update = (next) => {
      now = next;
      places = placesOf(next);
      words.textContent = next.label;
      range.max = places.parts;
      if (talk.queue.has(`set ${next.name}`)) return; // the reader is ahead
      if (Math.round(places.of(next.value)) !== Number(range.value)) range.value = Math.round(places.of(next.value));
      out.textContent = short(next.value);
      range.setAttribute("aria-valuetext", short(next.value));
    };
    return { element: label, input: range, update };
  },
  choice(c, talk) {
    const label = make("label", "ebm-control"), words = make("span", "ebm-label"), select = make("select", "ebm-choice");
    label.append(words, select);
    select.addEventListener("change", () => talk.say(`set ${c.name}`, { do: "set", name: c.name, value: select.value }));
    const update = (next) => {
      words.textContent = next.label;
      if ([...select.options].map((o) => o.value).join("\n") !== next.options.join("\n")) {
        select.replaceChildren(...next.options.map((o) => new Option(o, o)));
      }
      select.value = next.value;
    };
    return { element: label, input: select, update };
  },
  toggle(c, talk) {
    const label = make("label", "ebm-control"), box = make("input", "ebm-toggle", { type: "checkbox" });
    const words = make("span", "ebm-label");
    label.append(box, words);
    box.addEventListener("change", () => talk.say(`set ${c.name}`, { do: "set", name: c.name, value: box.checked }));
    const update = (next) => {
      words.textContent = next.label;
      box.checked = next.value;
    };
    return { element: label, input: box, update };
  },
  button(c, talk) {
    const button = make("button", "ebm-button", { type: "button" });
    let pressed = 0; // every press counts
    button.addEventListener("click", () => talk.say(`press ${c.name} ${pressed++}`, { do: "press", name: c.name }));
    return { element: button, input: button, update: (next) => void (button.textContent = next.label) };
  },
};

// Keeps the controls of before that are still there, so that the one in use stays in use.
function updateControls(row, kept, controls, talk, play) {
  const elements = controls.map((c) => {
    const key = `${c.kind} ${c.name}`;
    if (!kept.has(key)) {
      kept.set(key, CONTROLS[c.kind](c, talk));
      kept.get(key).input.dataset.name = c.name;
    }
    kept.get(key).update(c);
    return kept.get(key).element;
  });
  if (play) elements.unshift(play);
  if (elements.length !== row.children.length || elements.some((e, i) => e !== row.children[i])) {
    const focus = document.activeElement;
    row.replaceChildren(...elements);
    if (row.contains(focus)) focus.focus();
  }
}

// Panels -------------------------------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };

// Where an arrow key leads from a place: a fiftieth of the axes, with Shift a tenth; null for other keys.
function stepped(event, place, [x0, x1, y0, y1]) {
  if (!(event.key in ARROWS)) return null;
  event.preventDefault();
  const [dx, dy] = ARROWS[event.key], size = event.shiftKey ? 0.1 : 0.02;
  return within({ x: place.x + dx * size * (x1 - x0), y: place.y + dy * size * (y1 - y0) }, [x0, x1, y0, y1]);
}

const within = ({ x, y }, [x0, x1, y0, y1]) => ({ x: Math.min(Math.max(x, x0), x1), y: Math.min(Math.max(y, y0), y1) });

function legendOf(panel) {
  return panel.layers.filter((l) => (l.kind === "line" || l.kind === "dots") && l.label).map((l) => {
    const item = make("span", "ebm-legend-item"), mark = make("span", `ebm-mark ebm-mark-${l.kind}`);
    mark.style.setProperty("--color", l.color);
    if (l.dashed) mark.classList.add("ebm-mark-dashed");
    item.append(mark, l.label);
    return item;
  });
}

class PanelView {
  constructor(talk, panel) {
    Object.assign(this, { talk, panel, handles: new Map(), cursor: null, box: null });
    this.element = make("figure", "ebm-panel");
    this.title = make("figcaption", "ebm-panel-title");
    this.stage = make("div", "ebm-stage");
    this.canvas = make("canvas", "ebm-canvas");
    this.legend = make("div", "ebm-legend");
    this.stage.append(this.canvas);
    this.element.append(this.title, this.stage, this.legend);
    this.canvas.addEventListener("click", (e) => this.panel.clickable && this.click(this.placeOf(e)));
    this.canvas.addEventListener("keydown", (e) => this.key(e));
    this.canvas.addEventListener("focus", () => this.move(this.panel.clickable && this.canvas.matches(":focus-visible")
      ? this.cursor ?? { x: (this.panel.extent[0] + this.panel.extent[1]) / 2, y: (this.panel.extent[2] + this.panel.extent[3]) / 2 } : null));
    this.canvas.addEventListener("blur", () => this.move(null));
  }
  placeOf(event) {
    const rect = this.canvas.getBoundingClientRect(), zoom = rect.width / this.box.width || 1;
    return { x: this.box.x((event.clientX - rect.left) / zoom), y: this.box.y((event.clientY - rect.top) / zoom) };
  }
  click({ x, y }) {
    const [x0, x1, y0, y1] = this.panel.extent;
    if (x < x0 || x > x1 || y < y0 || y > y1) return;
    this.talk.say(`click ${this.panel.title} ${this.clicks = (this.clicks ?? 0) + 1}`, { do: "click", name: this.panel.title, x, y });
  }
  move(cursor) {
    this.cursor = cursor;
    this.redraw?.();
  }
  key(event) {
    if (!this.cursor) return;
    const to = stepped(event, this.cursor, this.panel.extent);
    if (to) this.move(to);
    else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.click(this.cursor);
    }
  }
  update(panel, height, art) {
    this.panel = panel;
    this.box = boxOf(panel, height);
    this.stage.dataset.axes = JSON.stringify({ left: this.box.left, top: this.box.top, w: this.box.w, h: this.box.h });
    this.title.textContent = panel.title;
    this.title.style.paddingLeft = `${this.box.left}px`;
    const axes = [panel.xlabel, panel.ylabel].filter(Boolean).join(" and ");
    this.canvas.setAttribute("role", panel.clickable ? "application" : "img");
    this.canvas.setAttribute("aria-label", `${panel.title}${axes ? `: ${axes}` : ""}${panel.clickable ? ". Arrow keys move a cross, Enter clicks." : ""}`);
    if (panel.clickable) this.canvas.tabIndex = 0;
    else this.canvas.removeAttribute("tabindex");
    this.canvas.classList.toggle("ebm-clickable", panel.clickable);
    this.redraw = () => drawPanel(this.canvas, this.panel, this.box, art, this.cursor);
    this.redraw();
    const legend = legendOf(panel), said = legend.map((l) => l.outerHTML).join("");
    if (said !== this.said) this.legend.replaceChildren(...legend);
    this.said = said;
    this.legend.style.maxWidth = `${this.box.width}px`;
    const here = panel.layers.filter((l) => l.kind === "handle"), names = here.map((h) => h.name);
    for (const [name, view] of this.handles) {
      if (names.includes(name)) continue;
      view.element.remove();
      this.handles.delete(name);
    }
    for (const handle of here) {
      if (!this.handles.has(handle.name)) {
        this.handles.set(handle.name, new HandleView(this, handle.name));
        this.stage.append(this.handles.get(handle.name).element);
      }
      this.handles.get(handle.name).update(handle);
    }
  }
}
