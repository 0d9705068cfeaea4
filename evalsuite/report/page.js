"use strict";
// The questions: unpacked once, searched and filtered in memory, shown a page at a time. Text of data and models only
// ever becomes text nodes. The form of the data is described in questions.py.
(() => {
  const PAGE = 50;
  const LONG_OPENING = 300;
  const TYPING_MS = 120;
  const [TASK, GROUP, ID, OPENING, PROMPT, CONTINUATIONS, GOLD, ANSWERS, FLIPS] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const [CASES, PREDICTION, SCORE, SCORES, LOGPROBS, TEXT, JUDGE] = [0, 1, 2, 3, 4, 5, 6];
  const OUTCOMES = { right: "right", partly: "partly right", wrong: "wrong", unscored: "not scored" };
  const at = (id) => document.getElementById(id);
  const holder = at("data");
  if (!holder) return;

  let data = null;
  let texts = null; // what a search looks at, made by the first one
  let found = [];
  let page = 0;

  function make(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  // Text of data or models in a line of ours: it may write from right to left and cannot turn ours around.
  const quoted = (text) => make("bdi", {}, text);

  async function unpack() {
    if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old to unpack them");
    const characters = atob(holder.textContent);
    holder.remove();
    const bytes = new Uint8Array(characters.length);
    for (let place = 0; place < bytes.length; place++) bytes[place] = characters.charCodeAt(place);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  const outcome = (score) => (typeof score !== "number" ? "unscored" : score >= 1 ? "right" : score > 0 ? "partly" : "wrong");
  const answersOf = (question, chosen) =>
    chosen < 0 ? question[ANSWERS] : question[ANSWERS].filter((answer) => answer[CASES].includes(chosen));
  const flipsOf = (question, chosen) =>
    chosen < 0 ? question[FLIPS] : question[FLIPS].filter((flip) => flip[0] === chosen);

  function lowered(question) {
    const parts = [question[ID], question[PROMPT] ?? "", ...(question[GOLD] ?? [])];
    for (const answer of question[ANSWERS]) parts.push(answer[PREDICTION], answer[TEXT] ?? "");
    return parts.join("\n").normalize("NFC").toLowerCase();
  }

  function filter() {
    const wanted = at("search").value.trim().normalize("NFC").toLowerCase();
    const [task, group, chosen] = ["task", "group", "case"].map((id) => Number(at(id).value));
    const result = at("outcome").value;
    const changed = at("changed").checked;
    if (wanted && texts === null) texts = data.questions.map(lowered);
    found = [];
    data.questions.forEach((question, index) => {
      if (task >= 0 && question[TASK] !== task) return;
      if (group >= 0 && question[GROUP] !== group) return;
      const answers = answersOf(question, chosen);
      if (answers.length === 0) return;
      if (result === "right" || result === "unscored") {
        if (!answers.every((answer) => outcome(answer[SCORE]) === result)) return;
      } else if (result && !answers.some((answer) => outcome(answer[SCORE]) === result)) return;
      if (changed && question[ANSWERS].length < 2 && flipsOf(question, chosen).length === 0) return;
      if (wanted && !texts[index].includes(wanted)) return;
      found.push(index);
    });
    page = 0;
    show();
  }

  function show() {
    const first = page * PAGE;
    const shown = found.slice(first, first + PAGE);
    const all = data.questions.length.toLocaleString("en");
    const count = found.length.toLocaleString("en");
    const range = found.length > PAGE ? `, ${(first + 1).toLocaleString("en")} to ${(first + shown.length).toLocaleString("en")} shown` : "";
    at("count").textContent = `${count} of ${all} questions${range}`;
    at("list").replaceChildren(...shown.map((index) => entry(data.questions[index])));
    const pages = Math.ceil(found.length / PAGE);
    const turn = (words, to) => {
      const button = make("button", { type: "button" }, words);
      button.disabled = to < 0 || to >= pages;
      button.addEventListener("click", () => {
        page = to;
        show();
        at("filters").scrollIntoView();
      });
      return button;
    };
    const place = make("span", {}, `page ${page + 1} of ${pages}`);
    at("pager").replaceChildren(...(pages > 1 ? [turn("Previous", page - 1), place, turn("Next", page + 1)] : []));
  }

  function entry(question) {
    const chosen = Number(at("case").value);
    const answers = answersOf(question, chosen);
    const differ = question[ANSWERS].length > 1 ? `, ${question[ANSWERS].length} different answers` : "";
    const said = answers.map((answer) => answer[PREDICTION] || "(nothing)").join(" / ");
    const gold = question[GOLD] === null ? "" : ` (right: ${question[GOLD].join(" / ") || "no answer"})`;
    const summary = make("summary", {},
      badge(answers),
      make("span", { class: "id" }, question[ID] + differ),
      make("span", { class: "said" }, quoted(said), make("bdi", { class: "gold" }, gold)));
    const made = make("details", {}, summary);
    made.addEventListener("toggle", () => {
      if (made.open && made.children.length === 1) made.append(inside(question));
    });
    return made;
  }

  function badge(answers) {
    const kinds = new Set(answers.map((answer) => outcome(answer[SCORE])));
    const kind = ["wrong", "partly", "unscored", "right"].find((name) => kinds.has(name));
    return make("span", { class: `badge badge-${kind}` }, kinds.size > 1 ? `${OUTCOMES[kind]} by some` : OUTCOMES[kind]);
  }

  function inside(question) {
    const made = make("div", { class: "inside" });
    made.append(make("h4", {}, `prompt · ${data.tasks[question[TASK]]} · ${data.groups[question[GROUP]]}`));
    if (question[PROMPT] === null) made.append(make("p", { class: "note" }, "Its text is not on this page."));
    else {
      const opening = question[OPENING] < 0 ? "" : data.openings[question[OPENING]];
      if (opening.length > LONG_OPENING) {
        const words = `What every prompt of the group begins with: ${opening.length.toLocaleString("en")} characters`;
        made.append(make("details", {}, make("summary", {}, words), make("pre", { class: "prompt" }, opening)));
        made.append(make("pre", { class: "prompt" }, question[PROMPT]));
      } else made.append(make("pre", { class: "prompt" }, opening + question[PROMPT]));
    }
    made.append(make("h4", {}, "right"), gold(question), make("h4", {}, "answered"), answerTable(question));
    return made;
  }

  function gold(question) {
    if (question[GOLD] === null) return make("div", {}, "no published answer");
    return make("div", {}, question[GOLD].length ? question[GOLD].join(" / ") : "no answer is in the passage");
  }

  function answerTable(question) {
    const rows = question[ANSWERS].map((answer) => make("tr", {},
      make("th", { scope: "row" }, answer[CASES].map((number) => data.cases[number]).join(", ")),
      make("td", { class: "text" }, quoted(answer[PREDICTION] || "(nothing)"), rawText(answer)),
      make("td", { class: "text" }, badge([answer]), " ", metrics(answer)),
      make("td", { class: "text" }, likelihoods(question, answer), judged(answer), flipped(question, answer))));
    const head = ["cases", "answer", "grade", ""].map((words) => make("th", { scope: "col" }, words));
    const made = make("table", { class: "plain" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "answers" }, made);
  }

  const number = (value) => (typeof value === "number" ? String(Math.round(value * 1000) / 1000) : String(value));

  function rawText(answer) {
    return answer[TEXT] === null ? null : make("div", { class: "note" }, "written: ", quoted(answer[TEXT]));
  }

  function metrics(answer) {
    const names = Object.entries(answer[SCORES]);
    if (names.length < 2) return "";
    return names.map(([name, value]) => `${name} ${number(value)}`).join(", ");
  }

  function likelihoods(question, answer) {
    if (answer[LOGPROBS] === null) return "";
    const names = question[CONTINUATIONS];
    const words = answer[LOGPROBS].map((value, index) => `${(names[index] ?? `choice ${index + 1}`).trim()} ${number(value)}`);
    return make("div", {}, `log-probabilities: ${words.join(", ")}`);
  }

  function judged(answer) {
    if (answer[JUDGE] === null) return "";
    const [grade, problem, reply] = answer[JUDGE];
    const words = grade === null ? ["judge: no grade (", quoted(problem), ")"] : [`judge: ${number(grade)}`];
    return make("div", {}, ...words, ...(reply ? [", said “", quoted(reply), "”"] : []));
  }

  function flipped(question, answer) {
    const flips = question[FLIPS].filter((flip) => answer[CASES].includes(flip[0]));
    return make("div", {}, ...flips.map(([chosen, reference, path, margin, excused]) => {
      const distance = margin === null ? "no margin" : `margin ${number(margin)} nats`;
      const verdict = excused ? "below noise" : "changed";
      const change = ["“", quoted(reference), "” became “", quoted(path), "”"];
      return make("div", {}, `${data.cases[chosen]}: ${verdict}, ${distance}, `, ...change);
    }));
  }

  function offer(id, everything, names) {
    const options = names.map(([value, words]) => make("option", { value: String(value) }, words));
    at(id).replaceChildren(make("option", { value: "-1" }, everything), ...options);
  }

  function offerGroups() {
    const task = Number(at("task").value);
    const inTask = new Set();
    for (const question of data.questions) if (task < 0 || question[TASK] === task) inTask.add(question[GROUP]);
    const names = [...inTask].map((index) => [index, data.groups[index]]);
    offer("group", "any", names.sort((a, b) => (a[1] < b[1] ? -1 : 1)));
  }

  function start(unpacked) {
    data = unpacked;
    offer("task", "any", data.tasks.map((name, index) => [index, name]));
    offer("case", "any", data.cases.map((name, index) => [index, name]));
    offerGroups();
    let typing = 0;
    at("search").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(filter, TYPING_MS);
    });
    at("task").addEventListener("change", offerGroups);
    for (const id of ["task", "group", "case", "outcome", "changed"]) at(id).addEventListener("change", filter);
    at("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const link of document.querySelectorAll("a[data-find]")) {
      link.addEventListener("click", () => {
        at("filters").reset();
        offerGroups();
        at("search").value = link.dataset.find;
        filter();
      });
    }
    filter();
  }

  let reopened = [];
  addEventListener("beforeprint", () => {
    reopened = [...document.querySelectorAll("details:not([open])")].filter((one) => !one.closest("#list"));
    for (const one of reopened) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of reopened) one.open = false;
  });

  unpack().then(start, (error) => {
    at("count").textContent = `The questions could not be unpacked: ${error.message}`;
  });
})();
