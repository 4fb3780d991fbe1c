"""The page on which people try a served model: one file, no address of another machine, light and dark, any width."""

import json
from html import escape
from typing import Literal

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #5c5c5c; --line: #d4d4d4; --paper: #fff; --field: #f5f6f7;
  --mark: #0b6bcb; --bar: #0b6bcb; --rest: #e3e8ee; --wrong: #a3291c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #a8a8a8; --line: #3a3d42; --paper: #17191c; --field: #1f2226; --mark: #6db3ff;
    --bar: #4a9df0; --rest: #2b2f35; --wrong: #ff9d8f; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 46rem;
  margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 0 0 0.6rem; overflow-wrap: anywhere; }
p { margin: 0.2rem 0 1.2rem; color: var(--soft); font-size: 0.9rem; }
label.drop { display: block; border: 2px dashed var(--line); border-radius: 10px; background: var(--field);
  padding: 2rem 1rem; text-align: center; cursor: pointer; }
label.drop:hover, label.drop.over, label.drop:focus-within { border-color: var(--mark); }
label.drop b { color: var(--mark); font-weight: 600; }
label.drop small { display: block; color: var(--soft); margin-top: 0.3rem; }
input[type=file] { position: absolute; opacity: 0; width: 1px; height: 1px; }
.row { display: flex; flex-wrap: wrap; gap: 0.6rem; align-items: center; margin: 0 0 1rem; }
input[type=text] { flex: 1 1 14rem; min-width: 0; font: inherit; padding: 0.55rem 0.7rem; color: inherit;
  background: var(--field); border: 1px solid var(--line); border-radius: 8px; }
button { font: inherit; font-weight: 600; padding: 0.55rem 1.1rem; border: 0; border-radius: 8px; color: var(--paper);
  background: var(--mark); cursor: pointer; }
button:disabled { opacity: 0.5; cursor: default; }
input:focus-visible, button:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
article { display: grid; grid-template-columns: minmax(0, 11rem) minmax(0, 1fr); gap: 1rem; padding: 1.2rem 0;
  border-top: 1px solid var(--line); }
article:first-child { margin-top: 1.5rem; }
@media (max-width: 34rem) { article { grid-template-columns: minmax(0, 1fr); } video { max-height: 14rem; } }
article.bare { grid-template-columns: minmax(0, 1fr); }
video { width: 100%; border-radius: 6px; background: var(--rest); display: block; }
ol { list-style: none; margin: 0; padding: 0; }
li { margin: 0 0 0.55rem; }
.name { display: flex; justify-content: space-between; gap: 1rem; font-size: 0.95rem; overflow-wrap: anywhere; }
.name span:last-child { font-variant-numeric: tabular-nums; color: var(--soft); }
.bar { height: 8px; border-radius: 4px; background: var(--rest); overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--bar); }
li:first-child .name { font-weight: 600; }
.state { color: var(--soft); font-size: 0.9rem; }
.wrong { color: var(--wrong); }
""".strip()

_SCRIPT = """
"use strict";
const told = JSON.parse(document.getElementById("told").textContent);
const shown = document.getElementById("shown"), input = document.getElementById("files");
const drop = document.querySelector(".drop"), text = document.getElementById("text");
const make = (kind, parent, className, words) => {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (words !== undefined) made.textContent = words;
  if (parent) parent.append(made);
  return made;
};
const card = (file) => {
  const article = document.createElement("article");
  const video = make("video", article);
  video.muted = video.loop = video.playsInline = video.controls = true;
  video.setAttribute("aria-label", "the video " + file.name);
  video.src = URL.createObjectURL(file);
  video.onerror = () => { video.remove(); article.classList.add("bare"); };
  video.play().catch(() => {});
  const side = make("div", article);
  make("h2", side, "", file.name);
  const body = make("div", side);
  return {article, body, state: (words, wrong) => {
    body.replaceChildren(make("div", null, wrong ? "state wrong" : "state", words));
  }};
};
const bars = (list, rows) => {
  for (const [name, share, number] of rows) {
    const item = make("li", list), line = make("div", item, "name");
    make("span", line, "", name);
    make("span", line, "", number);
    make("i", make("div", item, "bar")).style.width = Math.max(0, Math.min(100, 100 * share)) + "%";
  }
};
const send = (path, form, size, state, done) => {
  if (size > told.most_bytes) {
    const much = (size / 1048576).toFixed(0), most = told.most_bytes / 1048576;
    state(much + " MiB: larger than " + most + " MiB, the most that is taken here", true);
    done(null);
    return;
  }
  const request = new XMLHttpRequest();
  request.open("POST", path);
  request.responseType = "json";
  request.upload.onprogress = (event) => {
    if (event.lengthComputable && event.loaded < event.total)
      state("sending, " + Math.round(100 * event.loaded / event.total) + "%");
    else state("looking at it …");
  };
  request.onload = () => {
    const answer = request.response || {};
    if (request.status !== 200) state(answer.error || "the server answers " + request.status, true);
    done(request.status === 200 ? answer : null);
  };
  request.onerror = () => { state("the server does not answer", true); done(null); };
  state("sending …");
  request.send(form);
};
const ask = (file) => {
  const one = card(file), form = new FormData();
  shown.prepend(one.article);
  form.append("video", file, file.name);
  send("predict", form, file.size, one.state, (answer) => {
    if (!answer) return;
    const list = make("ol");
    bars(list, answer.labels.map(([name, score]) => [name, score, (100 * score).toFixed(1) + "%"]));
    one.body.replaceChildren(list);
  });
};
let chosen = [];
const choose = (files) => {
  chosen = [...files];
  const names = chosen.map((file) => file.name).join(", ");
  document.getElementById("chosen").textContent = names.length > 200 ? chosen.length + " videos" : names;
};
const search = () => {
  const state = (words, wrong) => shown.replaceChildren(make("div", null, wrong ? "state wrong" : "state", words));
  if (!text.value.trim() || !chosen.length) {
    state(chosen.length ? "Say in the box what is to be seen." : "Choose the videos to search in.", true);
    return;
  }
  const form = new FormData(), button = document.getElementById("go");
  form.append("text", text.value);
  form.append("top_k", String(chosen.length));
  chosen.forEach((file, place) => form.append("video", file, String(place)));
  button.disabled = true;
  send("search", form, chosen.reduce((sum, file) => sum + file.size, 0), state, (answer) => {
    button.disabled = false;
    if (!answer) return;
    shown.replaceChildren();
    const scores = answer.ranking.map((found) => found.score);
    const low = Math.min(0, ...scores), high = Math.max(...scores, low + 1e-9);
    for (const found of answer.ranking) {
      const one = card(chosen[Number(found.video)]), list = make("ol");
      const share = (found.score - low) / (high - low);
      bars(list, [["rank " + found.rank, share, "similarity " + found.score.toFixed(3)]]);
      one.body.replaceChildren(list);
      shown.append(one.article);
    }
    for (const broken of answer.broken) {
      const one = card(chosen[Number(broken.video)]);
      one.state(broken.error, true);
      shown.append(one.article);
    }
  });
};
const take = (files) => { if (told.kind === "labels") [...files].forEach(ask); else choose(files); };
input.addEventListener("change", () => { take(input.files); input.value = ""; });
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files);
  });
}
if (text) document.getElementById("ask").addEventListener("submit", (event) => { event.preventDefault(); search(); });
""".strip()


def upload_page(name: str, *, kind: Literal["labels", "search"], about: str, most_bytes: int) -> str:
    """The page.

    Args:
        name: Of the model.
        kind: Whether it names labels, or ranks videos by a text.
        about: A sentence on the model.
        most_bytes: Of one upload.
    """
    # In a script element only `<` could end it.
    told = json.dumps({"kind": kind, "most_bytes": most_bytes}).replace("<", "\\u003c")
    wanted = "a video</b> or drop one" if kind == "labels" else "videos</b> or drop them"
    limit = f"{most_bytes / 2**20:g} MiB at most; it stays on this server only until it is answered"
    box = (
        "<form id='ask' class='row'><input type='text' id='text' maxlength='400' autocomplete='off' "
        "aria-label='What is to be seen' placeholder='What is to be seen, as in: a dog catches a ball'>"
        "<button id='go'>Search</button></form>\n"
        if kind == "search"
        else ""
    )
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        "<link rel='icon' href='data:,'>\n"
        f"<title>{escape(name)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(name)}</h1>\n<p>{escape(about)}</p>\n"
        f"<label class='drop'><input type='file' id='files' accept='video/*' multiple>"
        f"<b>Choose {wanted} here<small>{limit}</small><small id='chosen'></small></label>\n"
        f"{'<br>' if box else ''}{box}"
        "<div id='shown' aria-live='polite'></div>\n</main>\n"
        f"<script type='application/json' id='told'>{told}</script>\n<script>\n{_SCRIPT}\n</script>\n</body>\n</html>\n"
    )
