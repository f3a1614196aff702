"use strict";
(function () {
  // No tool bar: it would hide curves in small plots, and one of its buttons talks to a server.
  const config = { responsive: true, displayModeBar: false, displaylogo: false, showTips: false };

  function draw(box) {
    const key = box.dataset.figure;
    const plot = document.getElementById(key);
    const figure = JSON.parse(document.getElementById(key + "-data").textContent);
    const narrow = box.clientWidth < 560;
    if (narrow) {
      figure.layout.margin = Object.assign({}, figure.layout.margin, { l: 46, r: 6 });
      figure.layout.font.size = 12;
    }
    const heights = figure.data.map((trace) => trace.y);

    // A logarithmic axis can not show zero: such points stand on the floor.
    function forScale(log) {
      const floor = figure.meta.log.floor;
      return log ? heights.map((ys) => ys.map((y) => (y === null ? null : Math.max(y, floor)))) : heights;
    }

    const log = box.querySelector('[data-switch="log"]');
    if (log) {
      forScale(true).forEach((ys, i) => { figure.data[i].y = ys; });
      log.addEventListener("change", function () {
        const axis = { "yaxis.type": log.checked ? "log" : "linear", "yaxis.tickmode": log.checked ? "array" : "auto", "yaxis.autorange": true };
        Plotly.update(plot, { y: forScale(log.checked) }, axis);
      });
    }
    box.querySelectorAll('input[type="radio"]').forEach(function (radio) {
      radio.addEventListener("change", function () {
        Plotly.restyle(plot, { visible: figure.data.map((trace) => trace.meta.view === radio.value || trace.meta.view === "both") });
      });
    });
    return Plotly.newPlot(plot, figure.data, figure.layout, config);
  }

  Promise.all(Array.from(document.querySelectorAll(".figure"), draw)).then(function () {
    document.documentElement.dataset.plots = "drawn";
  });
  document.querySelectorAll(".drawing").forEach(function (box) {
    const more = box.parentElement.querySelector(".more");
    if (more) { more.hidden = box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight; }
    box.scrollLeft = (box.scrollWidth - box.clientWidth) / 2;
  });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach((block) => { block.open = true; });
    document.querySelectorAll(".plot").forEach((plot) => { Plotly.Plots.resize(plot); });
  });
})();
