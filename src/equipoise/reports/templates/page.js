(() => {
  "use strict";
  const $ = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const minus = (text) => text.replace("-", "−");
  const points = (value) => value === null || value === undefined ? "–" : minus(value.toFixed(1)).replace(/^−0\.0$/, "0.0");
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  /* Tables of leans: search, sorting, and the numbers of one setting. */
  const tables = all(".leans").map((card) => {
    const data = read(card.dataset.leans), rows = all("tbody tr", card), body = $("tbody", card);
    const base = data.keys.base || Object.values(data.keys)[0];
    let current = base, order = null;
    const place = (low, high) => {
      const [a, b] = [low, high].map((end) => data.middle + (100 - data.middle) * Math.max(-1, Math.min(1, end / data.reach)));
      return `left:${Math.min(a, b).toFixed(1)}%;width:${Math.abs(b - a).toFixed(1)}%`;
    };
    const values = {
      name: (name) => name,
      base: (name) => base[name] && base[name][0],
      now: (name) => current[name] && current[name][0],
      change: (name) => base[name] && current[name] ? current[name][0] - base[name][0] : null,
    };
    const sort = () => {
      if (!order) return;
      const of = values[order.by], sign = order.down ? -1 : 1;
      rows.sort((a, b) => {
        const [x, y] = [of(a.dataset.name), of(b.dataset.name)];
        if (x === y) return 0;
        if (x === null || x === undefined) return 1;
        if (y === null || y === undefined) return -1;
        return sign * (order.by === "name" ? x.localeCompare(y) : x - y);
      }).forEach((row) => body.append(row));
    };
    const show = (key) => {
      current = data.keys[key] || {};
      for (const row of rows) {
        const name = row.dataset.name, now = current[name], whole = now && now[1] !== null && now[2] !== null;
        $(".now b", row).textContent = points(now && now[0]);
        $(".now span", row).textContent = whole ? `${points(now[1])} to ${points(now[2])}` : "";
        $(".change", row).textContent = points(values.change(name));
        if ($(".most", row)) $(".most", row).textContent = now ? now[3] : "–";
        $("i.now", row).style.cssText = now ? place(0, now[0]) : "display:none";
        $("i.range", row).style.cssText = whole ? place(now[1], now[2]) : "display:none";
      }
      sort();
    };
    for (const head of all("th[data-sort]", card)) {
      const button = document.createElement("button"), by = head.dataset.sort;
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        order = { by, down: order && order.by === by ? !order.down : by !== "name" };
        all("th[data-sort]", card).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
        sort();
      });
    }
    const search = $(".search", card);
    if (search) {
      search.hidden = false;
      $("input", search).addEventListener("input", (event) => {
        const wanted = event.target.value.trim().toLowerCase();
        rows.forEach((row) => { row.hidden = !row.dataset.name.toLowerCase().includes(wanted); });
        const left = rows.filter((row) => !row.hidden).length;
        $(".found", search).textContent = wanted ? `${left} of ${rows.length}` : "";
      });
    }
    return show;
  });

  /* The dial: one setting of the whole page at a time. */
  const dial = $("#dial");
  if (dial) {
    const choice = $("#mitigation"), back = $("#back"), live = $("#live");
    let telling = 0;
    const keys = () => JSON.parse(dial.dataset.keys), strengths = () => JSON.parse(dial.dataset.strengths);
    const tell = () => {
      const shown = all(".dial .setting").find((element) => !element.hidden);
      const words = all(".reading", shown).map((reading) => {
        const title = $("h3", reading);
        const cells = all(".number", reading).slice(0, 3).map((cell) => `${$(".what", cell).textContent} ${$(".value", cell).textContent.trim()}`);
        return (title ? title.textContent + ": " : "") + cells.join(", ");
      });
      live.textContent = `${dial.getAttribute("aria-valuetext")}. ${words.join(". ")}`;
    };
    const update = (said = true) => {
      const key = keys()[dial.value], strength = strengths()[dial.value];
      const shown = strength === "–" ? "no dial" : "λ = " + strength;
      $("#lambda").textContent = shown;
      dial.setAttribute("aria-valuetext", shown);
      all(".setting").forEach((element) => { element.hidden = element.dataset.key !== key; });
      all("svg .ring").forEach((element) => element.classList.toggle("on", element.dataset.key === key));
      all("tr[data-key]").forEach((row) => row.classList.toggle("at", row.dataset.key === key));
      tables.forEach((show) => show(key));
      back.hidden = key === back.dataset.key;
      if (!said) return;
      clearTimeout(telling);
      telling = setTimeout(tell, 200);
      const chosen = choice && choice.selectedIndex ? `&mitigation=${encodeURIComponent(choice.selectedOptions[0].textContent)}` : "";
      try { history.replaceState(null, "", `#lambda=${encodeURIComponent(strength)}${chosen}`); } catch { /* a page from a sandbox has no address */ }
    };
    const choose = (index) => {
      const data = choice.options[index].dataset;
      choice.selectedIndex = index;
      dial.dataset.keys = data.keys;
      dial.dataset.strengths = data.strengths;
      dial.max = keys().length - 1;
      dial.value = data.start;
    };
    const follow = () => {
      const wanted = new URLSearchParams(location.hash.slice(1));
      if (choice && wanted.has("mitigation")) {
        const index = [...choice.options].findIndex((one) => one.textContent === wanted.get("mitigation"));
        if (index >= 0) choose(index);
      }
      if (wanted.has("lambda")) {
        const lambda = Number(wanted.get("lambda"));
        const far = strengths().map((text) => text === "–" ? Infinity : Math.abs(Number(text) - lambda));
        if (Number.isFinite(lambda)) dial.value = far.indexOf(Math.min(...far));
      }
      update(false);
    };
    dial.addEventListener("input", () => update());
    if (choice) choice.addEventListener("change", () => { choose(choice.selectedIndex); update(); });
    back.addEventListener("click", () => {
      if (choice && !keys().includes(back.dataset.key)) choose(0);
      dial.value = keys().indexOf(back.dataset.key);
      update();
      dial.focus();
    });
    window.addEventListener("hashchange", follow);
    $(".controls").hidden = false;
    follow();
  }

  /* Downloads, made from what is in the page. */
  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const csv = (content) => {
    const columns = ["task", "split", "mitigation", "file", "strength", "keep", "seed", "n"];
    const quoted = (value) => {
      if (value === null || value === undefined) return "";
      let text = String(value);
      /* A spreadsheet takes these for the beginning of a formula. */
      if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
      return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const lines = [[...columns, "of", "metric", "value", "low", "high", "items"]];
    for (const run of content.runs) {
      const facts = columns.map((name) => run[name]);
      const add = (of, metric, one) => { if (one) lines.push([...facts, of, metric, one.value, one.low, one.high, one.n]); };
      for (const of of ["metrics", "changes", "strata"])
        for (const [metric, one] of Object.entries(run[of] || {})) add(of, metric, one);
      for (const group of run.groups || []) {
        add("groups", group.name, group.p_pro);
        add("biases", group.name, group.bias);
        for (const [outcome, one] of Object.entries(group.shares || {})) add(`shares: ${outcome}`, group.name, one);
      }
    }
    return lines.map((line) => line.map(quoted).join(",") + "\r\n").join("");
  };
  const picture = async (svg, name) => {
    const copy = svg.cloneNode(true), [, , width, height] = svg.getAttribute("viewBox").split(/\s+/).map(Number);
    const wanted = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "fill-opacity", "stroke-opacity", "font-family", "font-size", "text-anchor", "display"];
    const originals = all("*", svg);
    all("*", copy).forEach((element, number) => {
      const style = getComputedStyle(originals[number]);
      wanted.forEach((property) => element.style.setProperty(property, style.getPropertyValue(property)));
    });
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    const image = new Image();
    image.src = "data:image/svg+xml," + encodeURIComponent(new XMLSerializer().serializeToString(copy));
    await image.decode();
    const canvas = document.createElement("canvas"), scale = 3;
    canvas.width = scale * width;
    canvas.height = scale * height;
    const pen = canvas.getContext("2d");
    pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--card");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  };
  if ($("#content")) {
    const content = read("content");
    $(".downloads").hidden = false;
    $("#json").addEventListener("click", () => save(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }), "results.json"));
    $("#csv").addEventListener("click", () => save(new Blob(["\ufeff" + csv(content)], { type: "text/csv" }), "results.csv"));
  }
  all("button.png").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => save(await picture($("svg", button.closest("figure"))), button.dataset.name.toLowerCase().replace(/[^a-z0-9]+/g, "-") + ".png"));
  });
})();
