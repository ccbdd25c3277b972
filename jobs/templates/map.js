"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { senses, uses } = data;
  const n = uses.length;
  const $ = (id) => document.getElementById(id);
  const map = $("map"), tooltip = $("tooltip"), keptList = $("kept");
  const pointsCanvas = $("points"), marksCanvas = $("marks");
  const darkScheme = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 50rem)");

  const MARGIN = 36; // pixels beside the outermost points
  const MARGIN_Y = 64; // above and below them, where buttons and the hint are
  const REACH = 14; // how far from a point, in pixels, one may point
  const CELL = 32; // of the grid in which points are found
  const MOST_STRETCH = 1.5; // of one direction over the other
  const MOST_ZOOM = 40;
  const TYPICAL = 7 - 0.95 * Math.log10(n + 1);
  const radius = Math.max(2.6, Math.min(6, TYPICAL));

  const isShown = senses.map(() => true);
  let emphasis = -1; // the sense that the legend is pointed at
  let current = -1; // the use that is shown
  let kept = []; // numbers of uses, oldest first
  let width = 0, height = 0, ratio = 1;
  let view = { scale: 1, x: 0, y: 0 };
  let sprites = [];
  const xs = new Float32Array(n), ys = new Float32Array(n);

  // --- elements, whose texts are never read as HTML ---

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  const SVG = "http://www.w3.org/2000/svg";
  const coloured = []; // elements that have the colour of a sense

  function inColour(made, sense) {
    made.dataset.sense = sense;
    made.style.color = colour(sense);
    return made;
  }

  function swatch(sense) {
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", "-1.3 -1.3 2.6 2.6");
    picture.setAttribute("class", "swatch");
    picture.setAttribute("aria-hidden", "true");
    const shape = document.createElementNS(SVG, "path");
    shape.setAttribute("d", senses[sense].path);
    picture.append(shape);
    return inColour(picture, sense);
  }

  const colour = (sense) => senses[sense][darkScheme.matches ? "dark" : "light"];
  const number = (value) => value.toLocaleString("en");
  const percent = (share) =>
    share > 0 && share < 0.01 ? "<1 %" : `${Math.round(100 * share)} %`;

  function useParts(i, ...before) {
    const use = uses[i];
    const head = element("p", "head", ...before, swatch(use.sense), senses[use.sense].name);
    if (use.confidence < 0.6 && senses.length > 1) {
      head.append(element("span", "sure", `not sure: ${percent(use.confidence)}`));
    }
    const sentence = element("p", "sentence", use.before, element("mark", "", use.word), use.after);
    sentence.dir = "auto";
    const parts = [head, sentence];
    if (use.metadata.length) {
      const line = element("p", "metadata");
      line.dir = "auto";
      use.metadata.forEach(([name, value], k) => {
        line.append(k ? " · " : "", `${name} `, element("b", "", value));
      });
      parts.push(line);
    }
    return parts;
  }

  // --- where points lie on the screen ---

  function place() {
    const w = Math.max(1, width - 2 * MARGIN), h = Math.max(1, height - 2 * MARGIN_Y);
    const sx = Math.min(w, MOST_STRETCH * h), sy = Math.min(h, MOST_STRETCH * w);
    for (let i = 0; i < n; i++) {
      xs[i] = (width / 2 + (uses[i].x - 0.5) * sx) * view.scale + view.x;
      ys[i] = (height / 2 + (uses[i].y - 0.5) * sy) * view.scale + view.y;
    }
    fillGrid();
  }

  let columns = 0, rows = 0, starts = new Uint32Array(1), cells = new Uint32Array(0);

  function cellOf(i) {
    const column = Math.floor(xs[i] / CELL), row = Math.floor(ys[i] / CELL);
    const isOn = column >= 0 && row >= 0 && column < columns && row < rows;
    return isOn && isShown[uses[i].sense] ? row * columns + column : -1;
  }

  function fillGrid() { // the points of a cell lie one after the other in `cells`
    columns = Math.ceil(width / CELL);
    rows = Math.ceil(height / CELL);
    starts = new Uint32Array(columns * rows + 1);
    for (let i = 0; i < n; i++) {
      const cell = cellOf(i);
      if (cell >= 0) starts[cell + 1]++;
    }
    for (let cell = 0; cell < columns * rows; cell++) starts[cell + 1] += starts[cell];
    cells = new Uint32Array(starts[columns * rows]);
    const next = starts.slice();
    for (let i = 0; i < n; i++) {
      const cell = cellOf(i);
      if (cell >= 0) cells[next[cell]++] = i;
    }
  }

  function nearest(x, y, reach) {
    let best = -1, bestSquare = reach * reach;
    const left = Math.max(0, Math.floor((x - reach) / CELL));
    const right = Math.min(columns - 1, Math.floor((x + reach) / CELL));
    const top = Math.max(0, Math.floor((y - reach) / CELL));
    const bottom = Math.min(rows - 1, Math.floor((y + reach) / CELL));
    for (let row = top; row <= bottom; row++) {
      for (let column = left; column <= right; column++) {
        const cell = row * columns + column;
        for (let k = starts[cell]; k < starts[cell + 1]; k++) {
          const i = cells[k], square = (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
          if (square <= bestSquare) [best, bestSquare] = [i, square];
        }
      }
    }
    return best;
  }

  // --- drawing ---

  function sprite(sense) { // a point, drawn once and then copied
    const size = Math.ceil(2 * (radius * 1.4 + 2) * ratio);
    const canvas = element("canvas");
    canvas.width = canvas.height = size;
    const pen = canvas.getContext("2d");
    pen.translate(size / 2, size / 2);
    pen.scale(radius * ratio, radius * ratio);
    const shape = new Path2D(senses[sense].path);
    pen.lineJoin = "round";
    pen.lineWidth = 1.6 / radius;
    pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
    pen.stroke(shape); // a rim of paper keeps points apart that overlap
    pen.fillStyle = colour(sense);
    pen.fill(shape);
    return canvas;
  }

  function drawPoints() {
    const pen = pointsCanvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, pointsCanvas.width, pointsCanvas.height);
    const draw = (wanted) => {
      for (let i = 0; i < n; i++) {
        const sense = uses[i].sense;
        if (!isShown[sense] || !wanted(sense)) continue;
        const picture = sprites[sense], half = picture.width / 2;
        const x = xs[i] * ratio - half, y = ys[i] * ratio - half;
        if (x < -2 * half || y < -2 * half || x > pointsCanvas.width || y > pointsCanvas.height) {
          continue;
        }
        pen.drawImage(picture, Math.round(x), Math.round(y));
      }
    };
    const isEmphasised = emphasis >= 0 && isShown[emphasis];
    pen.globalAlpha = isEmphasised ? 0.14 : 1;
    draw((sense) => !isEmphasised || sense !== emphasis);
    pen.globalAlpha = 1;
    if (isEmphasised) draw((sense) => sense === emphasis);
  }

  function drawMarks() {
    const pen = marksCanvas.getContext("2d");
    const styles = getComputedStyle(document.documentElement);
    const [ink, paper] = ["--ink", "--paper"].map((name) => styles.getPropertyValue(name));
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const ring = (i, extra, line) => {
      pen.beginPath();
      pen.arc(xs[i], ys[i], radius + extra, 0, 2 * Math.PI);
      pen.lineWidth = line + 2.5;
      pen.strokeStyle = paper;
      pen.stroke();
      pen.lineWidth = line;
      pen.strokeStyle = ink;
      pen.stroke();
    };
    kept.forEach((i, k) => {
      if (!isShown[uses[i].sense]) return;
      ring(i, 4, 1.5);
      badge(pen, xs[i] + radius + 9, ys[i] - radius - 7, String(k + 1), ink, paper);
    });
    if (current >= 0) ring(current, 6, 2.5);
  }

  function badge(pen, x, y, text, ink, paper) {
    const size = text.length > 1 ? 10 : 8;
    pen.beginPath();
    pen.arc(x, y, size, 0, 2 * Math.PI);
    pen.fillStyle = ink;
    pen.fill();
    pen.lineWidth = 1.5;
    pen.strokeStyle = paper;
    pen.stroke();
    pen.fillStyle = paper;
    pen.font = "600 11px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(text, x, y + 0.5);
  }

  let isDue = false;
  function redraw() { // at most once a frame
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      place();
      drawPoints();
      drawMarks();
      moveTooltip();
    });
  }

  function resize() {
    ratio = devicePixelRatio || 1;
    width = map.clientWidth;
    height = map.clientHeight;
    for (const canvas of [pointsCanvas, marksCanvas]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    recolour();
  }

  function watchRatio() { // on another screen the pixels of the device are others
    const query = matchMedia(`(resolution: ${devicePixelRatio}dppx)`);
    query.addEventListener("change", () => {
      resize();
      watchRatio();
    }, { once: true });
  }

  function recolour() {
    sprites = senses.map((_, sense) => sprite(sense));
    for (const made of document.querySelectorAll("[data-sense]")) {
      made.style.color = colour(Number(made.dataset.sense));
    }
    redraw();
  }

  // --- the use that is shown ---

  function show(i) {
    if (i === current) return;
    current = i;
    tooltip.hidden = i < 0;
    if (i >= 0) {
      tooltip.replaceChildren(...useParts(i));
      $("hint").hidden = true;
    }
    for (const item of keptList.children) {
      item.classList.toggle("current", Number(item.dataset.use) === i);
    }
    map.classList.toggle("over", i >= 0);
    moveTooltip();
    drawMarks();
  }

  function moveTooltip() { // beside the point, and never beyond the map
    if (current < 0) return;
    const gap = radius + 12, w = tooltip.offsetWidth, h = tooltip.offsetHeight;
    const x = xs[current], y = ys[current];
    let left = x + gap, top = y + gap;
    if (left + w > width - 8) left = x - gap - w;
    if (left < 8) left = Math.max(8, Math.min(width - w - 8, x - w / 2));
    if (top + h > height - 8) top = Math.max(8, y - gap - h);
    tooltip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  function say(text) {
    $("live").textContent = text;
  }

  function describe(i) {
    const use = uses[i], place = kept.indexOf(i);
    const metadata = use.metadata.map(([name, value]) => `, ${name} ${value}`).join("");
    const state = place < 0 ? "" : `Kept as number ${place + 1}. `;
    return `${senses[use.sense].name}. ${state}${use.before}${use.word}${use.after}${metadata}`;
  }

  // --- those that are kept ---

  function toggleKept(i) {
    if (kept.includes(i)) release(i);
    else keep(i);
  }

  function keep(i) {
    kept.push(i);
    listKept();
    keptList.firstElementChild.scrollIntoView({ block: "nearest" });
    say(`Kept as number ${kept.length}.`);
  }

  function release(i) {
    const place = kept.indexOf(i);
    kept = kept.filter((other) => other !== i);
    listKept();
    say(`Number ${place + 1} let go. ${number(kept.length)} kept.`);
  }

  function listKept() {
    $("none-kept").hidden = kept.length > 0;
    const items = kept.map((i, k) => {
      const button = element("button", "release", "×");
      button.type = "button";
      button.setAttribute("aria-label", `Let go of number ${k + 1}`);
      button.addEventListener("click", () => {
        release(i);
        const next = keptList.children[Math.min(kept.length - k, kept.length - 1)];
        (next ? next.querySelector("button") : map).focus();
      });
      const item = element("li", "use", ...useParts(i, element("span", "number", `${k + 1}`)), button);
      item.dataset.use = i;
      item.classList.toggle("current", i === current);
      item.addEventListener("pointerenter", () => { if (isShown[uses[i].sense]) show(i); });
      item.addEventListener("pointerleave", () => show(-1));
      return item;
    });
    keptList.replaceChildren(...items.reverse()); // the latest on top
    drawMarks();
  }

  // --- pointing, dragging, zooming ---

  let press = null;
  const spot = (event) => {
    const box = map.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  map.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x, y] = spot(event);
    press = { x, y, viewX: view.x, viewY: view.y, isDrag: false };
  });

  map.addEventListener("pointermove", (event) => {
    const [x, y] = spot(event);
    if (press && event.buttons & 1 && Math.hypot(x - press.x, y - press.y) > 4) {
      if (!press.isDrag) map.setPointerCapture(event.pointerId);
      press.isDrag = true;
    }
    if (press && press.isDrag) {
      show(-1);
      map.classList.add("dragged");
      moveTo(view.scale, press.viewX + x - press.x, press.viewY + y - press.y);
    } else {
      show(nearest(x, y, REACH));
    }
  });

  map.addEventListener("pointerup", (event) => {
    const wasDrag = press && press.isDrag;
    press = null;
    map.classList.remove("dragged");
    if (event.button !== 0 || wasDrag) return;
    const [x, y] = spot(event);
    const i = nearest(x, y, event.pointerType === "touch" ? 24 : REACH);
    show(i);
    if (i >= 0) toggleKept(i);
  });

  map.addEventListener("pointercancel", () => {
    press = null;
    map.classList.remove("dragged");
  });
  map.addEventListener("pointerleave", () => { if (!press) show(-1); });

  function moveTo(scale, x, y) { // the middle of the screen stays over the map
    scale = Math.max(1, Math.min(MOST_ZOOM, scale));
    view = {
      scale,
      x: Math.max(width * (1 - scale), Math.min(0, x)),
      y: Math.max(height * (1 - scale), Math.min(0, y)),
    };
    redraw();
  }

  function zoom(factor, x = width / 2, y = height / 2) { // what lies at (x, y) stays there
    const scale = Math.max(1, Math.min(MOST_ZOOM, view.scale * factor));
    const change = scale / view.scale;
    moveTo(scale, x - (x - view.x) * change, y - (y - view.y) * change);
  }

  map.addEventListener("wheel", (event) => {
    if (narrow.matches && !event.ctrlKey) return; // there the wheel scrolls the page
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    zoom(Math.exp(-event.deltaY * lines * 0.0015), ...spot(event));
  }, { passive: false });

  $("closer").addEventListener("click", () => zoom(1.6));
  $("farther").addEventListener("click", () => zoom(1 / 1.6));
  $("whole").addEventListener("click", () => moveTo(1, 0, 0));

  // --- keys ---

  const DIRECTIONS = {
    ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  };

  function middle() {
    let best = -1, bestSquare = Infinity;
    for (let i = 0; i < n; i++) {
      const square = (xs[i] - width / 2) ** 2 + (ys[i] - height / 2) ** 2;
      if (isShown[uses[i].sense] && square < bestSquare) [best, bestSquare] = [i, square];
    }
    return best;
  }

  function next(from, [dx, dy]) { // the nearest one ahead, those off to the side counting as farther
    let best = -1, bestCost = Infinity;
    for (let i = 0; i < n; i++) {
      if (i === from || !isShown[uses[i].sense]) continue;
      const x = xs[i] - xs[from], y = ys[i] - ys[from];
      const ahead = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (ahead <= 0 || (ahead === 0 && aside === 0)) continue;
      const cost = Math.hypot(ahead, aside) * (1 + 2 * (aside / (ahead + aside)));
      if (cost < bestCost) [best, bestCost] = [i, cost];
    }
    return best;
  }

  function bringIntoView(i) {
    const isOff = xs[i] < MARGIN || ys[i] < MARGIN || xs[i] > width - MARGIN
      || ys[i] > height - MARGIN;
    if (isOff && view.scale > 1) {
      moveTo(view.scale, view.x + width / 2 - xs[i], view.y + height / 2 - ys[i]);
    }
  }

  function walk(direction) {
    const i = current < 0 ? middle() : next(current, direction);
    if (i < 0) {
      say(current < 0 ? "No use is shown." : "No use lies farther that way.");
      return;
    }
    show(i);
    bringIntoView(i);
    say(describe(i));
  }

  function letGo() {
    if (current >= 0 && kept.includes(current)) release(current);
    else if (current >= 0) show(-1);
    else if (kept.length) release(kept[kept.length - 1]);
  }

  map.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      Enter: () => { if (current >= 0) toggleKept(current); },
      Escape: letGo,
      "+": () => zoom(1.6),
      "=": () => zoom(1.6),
      "-": () => zoom(1 / 1.6),
      0: () => moveTo(1, 0, 0),
    };
    acts[" "] = acts.Enter;
    const direction = DIRECTIONS[event.key];
    const act = direction ? () => walk(direction) : acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // --- the legend ---

  function legendButton(sense, i) {
    const share = element("span", "share", percent(sense.share), " ");
    share.append(element("small", "", number(sense.nUses)));
    const bar = element("i");
    bar.style.width = `${100 * sense.share}%`;
    const button = element("button", "", swatch(i), element("span", "name", sense.name), share);
    if (sense.words.length) button.append(element("span", "words", sense.words.join(", ")));
    button.append(inColour(element("span", "bar", bar), i));
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.setAttribute(
      "aria-label",
      [`${sense.name}: ${percent(sense.share)}, ${number(sense.nUses)} uses`, ...sense.words].join(", "),
    );
    button.addEventListener("click", () => toggleSense(i, button));
    const emphasise = (value) => () => {
      emphasis = value;
      drawPoints();
    };
    button.addEventListener("pointerenter", emphasise(i));
    button.addEventListener("pointerleave", emphasise(-1));
    return button;
  }

  function toggleSense(i, button) {
    isShown[i] = !isShown[i];
    button.setAttribute("aria-pressed", String(isShown[i]));
    if (current >= 0 && !isShown[uses[current].sense]) show(-1);
    redraw();
  }

  function start() {
    $("word").textContent = data.word;
    const shown = n === data.nUses
      ? `${number(n)} uses`
      : `${number(n)} of ${number(data.nUses)} uses shown, drawn at random`;
    const kinds = senses.length === 1 ? "one sense" : `${senses.length} senses`;
    $("count").textContent = `${shown} · ${kinds}. Uses that are alike lie near each other.`;
    $("legend").append(...senses.map((sense, i) => element("li", "", legendButton(sense, i))));
    new ResizeObserver(resize).observe(map);
    watchRatio();
    darkScheme.addEventListener("change", recolour);
    resize();
  }

  start();
})();
