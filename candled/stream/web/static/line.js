// A line over the candles. It is drawn on their own price scale, where a series of its own would have percents of its own.

export class Line {
  // chart and series: whose places on the screen it takes; its points are the series' bars, from the first one on.
  constructor(chart, series, tint) {
    this.chart = chart;
    this.series = series;
    this.tint = tint;
    this.points = []; // { time, value }; no value: the line is broken there
    this.redraw = () => {};
    this.views = [{ zOrder: () => "normal", renderer: () => ({ draw: (target) => this.#draw(target) }) }];
    series.attachPrimitive(this);
  }

  setData(points) {
    this.points = points;
    this.redraw();
  }

  // The newest point again, or the one after it.
  update(point) {
    if (this.points.at(-1)?.time === point.time) this.points.pop();
    this.points.push(point);
    this.redraw();
  }

  applyOptions({ color }) {
    this.tint = color;
    this.redraw();
  }

  remove() { this.series.detachPrimitive(this); }

  // What the chart library asks of what it draws.
  attached({ requestUpdate }) { this.redraw = requestUpdate; }

  detached() { this.redraw = () => {}; }

  paneViews() { return this.views; }

  // [x, y] of the points in sight, in pixels; y is null where the line is broken.
  places() {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return [];
    const first = Math.max(0, Math.floor(range.from) - 1);
    return this.points.slice(first, Math.ceil(range.to) + 2).map(({ value }, i) => (
      [scale.logicalToCoordinate(first + i), value === undefined ? null : this.series.priceToCoordinate(value)]
    ));
  }

  #draw(target) {
    target.useMediaCoordinateSpace(({ context }) => {
      context.strokeStyle = this.tint;
      context.lineWidth = 1.25;
      context.lineJoin = "round";
      context.beginPath();
      let isDown = false; // the pen
      for (const [x, y] of this.places()) {
        if (y !== null && isDown) context.lineTo(x, y);
        else if (y !== null) context.moveTo(x, y);
        isDown = y !== null;
      }
      context.stroke();
    });
  }
}
