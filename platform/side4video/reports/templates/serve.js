"use strict";
const config = JSON.parse(document.getElementById("config").textContent);
const results = document.getElementById("results"), input = document.getElementById("files");
const dropArea = document.querySelector(".drop"), text = document.getElementById("text");
const MIB = 1048576;

// What would turn the direction of text, or cannot be seen, is shown as an escape, as in a terminal.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
const printable = (content) =>
  String(content).replace(UNSAFE, (found) => "\\u" + found.charCodeAt(0).toString(16).padStart(4, "0"));

// User text is only ever set as textContent, so that it cannot become markup.
const addElement = (tag, parent, className, content) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (content !== undefined) element.textContent = printable(content);
  if (parent) parent.append(element);
  return element;
};

const showState = (parent, message, isError) =>
  parent.replaceChildren(addElement("div", null, isError ? "state wrong" : "state", message));

const createCard = (file) => {
  const article = addElement("article"), video = addElement("video", article);
  video.muted = video.loop = video.playsInline = video.controls = true;
  video.setAttribute("aria-label", "the video " + file.name);
  video.src = URL.createObjectURL(file);
  video.onerror = () => { video.remove(); article.classList.add("no-preview"); };
  video.play().catch(() => {});
  const column = addElement("div", article);
  addElement("h2", column, "", file.name);
  return {article, body: addElement("div", column)};
};

// Rows of [name, share of the bar from 0 to 1, printed number].
const scoreList = (rows) => {
  const list = addElement("ol", null, "scores");
  for (const [name, share, number] of rows) {
    const item = addElement("li", list), line = addElement("div", item, "name");
    addElement("span", line, "", name);
    addElement("span", line, "", number);
    addElement("i", addElement("div", item, "bar")).style.width = Math.max(0, Math.min(100, 100 * share)) + "%";
  }
  return list;
};

// XMLHttpRequest, because fetch does not report the progress of an upload.
const upload = (path, form, size, onState, onDone) => {
  if (size > config.max_bytes) {
    onState((size / MIB).toFixed(0) + " MiB: larger than the limit of " + config.max_bytes / MIB + " MiB", true);
    onDone(null);
    return;
  }
  const request = new XMLHttpRequest();
  request.open("POST", path);
  request.responseType = "json";
  request.upload.onprogress = (event) => {
    if (event.lengthComputable && event.loaded < event.total)
      onState("sending, " + Math.round(100 * event.loaded / event.total) + "%");
    else onState("processing …");
  };
  request.onload = () => {
    const answer = request.response || {};
    if (request.status !== 200) onState(answer.error || "the server answers " + request.status, true);
    onDone(request.status === 200 ? answer : null);
  };
  request.onerror = () => { onState("the server does not answer", true); onDone(null); };
  onState("sending …");
  request.send(form);
};

const classify = (file) => {
  const card = createCard(file), form = new FormData();
  results.prepend(card.article);
  form.append("video", file, file.name);
  upload("predict", form, file.size, (...state) => showState(card.body, ...state), (answer) => {
    if (!answer) return;
    const list = (labels) => scoreList(labels.map(([name, score]) => [name, score, (100 * score).toFixed(1) + "%"]));
    card.body.replaceChildren(list(answer.labels));
    // The classes of each head of a model with several.
    for (const [head, labels] of Object.entries(answer.heads || {})) {
      addElement("h3", card.body, "", head);
      card.body.append(list(labels));
    }
  });
};

let chosen = [];
const choose = (files) => {
  chosen = [...files];
  const names = chosen.map((file) => file.name).join(", ");
  document.getElementById("chosen").textContent = names.length > 200 ? chosen.length + " videos" : names;
};

const search = () => {
  if (!text.value.trim() || !chosen.length) {
    showState(results, chosen.length ? "Enter a text to search for." : "Choose the videos to search in.", true);
    return;
  }
  const form = new FormData(), button = document.getElementById("search");
  form.append("text", text.value);
  form.append("top_k", String(chosen.length));
  chosen.forEach((file, index) => form.append("video", file, String(index)));
  button.disabled = true;
  const size = chosen.reduce((sum, file) => sum + file.size, 0);
  upload("search", form, size, (...state) => showState(results, ...state), (answer) => {
    button.disabled = false;
    if (!answer) return;
    results.replaceChildren();
    const scores = answer.ranking.map((match) => match.score);
    const min = Math.min(0, ...scores), max = Math.max(...scores, min + 1e-9);
    for (const match of answer.ranking) {
      const card = createCard(chosen[Number(match.video)]);
      const share = (match.score - min) / (max - min);
      card.body.append(scoreList([["rank " + match.rank, share, "similarity " + match.score.toFixed(3)]]));
      results.append(card.article);
    }
    for (const broken of answer.broken) {
      const card = createCard(chosen[Number(broken.video)]);
      showState(card.body, broken.error, true);
      results.append(card.article);
    }
  });
};

const accept = (files) => { if (config.kind === "labels") [...files].forEach(classify); else choose(files); };
input.addEventListener("change", () => { accept(input.files); input.value = ""; });
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    dropArea.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) accept(event.dataTransfer.files);
  });
}
if (text) document.getElementById("query").addEventListener("submit", (event) => { event.preventDefault(); search(); });
