const SPAN_MS = 10_000;

// The age of the last ten seconds of ticks.
class AgePlot {
  constructor(canvas, label) {
    this.canvas = canvas;
    this.label = label;
    this.points = [];
  }

  add(at, age) {
    this.points.push({ at, age });
  }

  // All of them in one scale, so that they can be compared.
  static draw(plots, now) {
    for (const { points } of plots) while (points.length > 0 && points[0].at < now - SPAN_MS) points.shift();
    const oldest = plots.flatMap(({ points }) => points).reduce((most, { age }) => Math.max(most, age), 0);
    const top = [50, 100, 250, 500, 1000, 2500, 5000].find((limit) => limit > oldest * 1.1) ?? oldest * 1.2;
    for (const plot of plots) plot.draw(now, top);
  }

  draw(now, top) {
    const { canvas } = this, scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = getComputedStyle(this.label).color;
    pen.font = "12px system-ui, sans-serif";
    pen.fillText(`${Math.round(top)} ms`, 2, 12);
    pen.fillStyle = getComputedStyle(canvas).color;
    for (const { at, age } of this.points) {
      const x = width * (1 - (now - at) / SPAN_MS), y = height * (1 - Math.max(age, 0) / top);
      pen.fillRect(x - 1, y - 1, 2, 2);
    }
    const recent = this.points.filter((point) => point.at > now - 1000);
    this.label.textContent = recent.length === 0 ? "nothing arrives"
      : `${recent.length} a second, oldest ${Math.round(Math.max(...recent.map((point) => point.age)))} ms`;
  }
}
