"""explore.html in a real browser: it plays, follows, switches and can be read, at every width and in both schemes."""

import contextlib
import os
import shutil

import numpy as np
import pytest

from silot_tf.reporting.examples import read_examples
from tests.reporting.synthetic import sprite_colour, write_explore_page, write_run

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra `test`) to drive a browser")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FRAMES, SIZE = 6, 24

#: Colours of text and of what lies behind it, for every text that can be seen.
TEXTS = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const over = (top, below) => { const a = top[3] ?? 1; return [0, 1, 2].map(i => top[i] * a + below[i] * (1 - a)); };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || element.closest("script, style, noscript, option") || !element.getClientRects().length) continue;
    const layers = [];
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) {
      layers.push(parse(getComputedStyle(e).backgroundColor));
      opacity *= Number(getComputedStyle(e).opacity);
    }
    let behind = [255, 255, 255];
    for (const layer of layers.reverse()) behind = over(layer, behind);
    const style = getComputedStyle(element);
    const ink = parse(element instanceof SVGElement ? style.fill : style.color);
    found.push([text, over([...ink.slice(0, 3), (ink[3] ?? 1) * opacity], behind), behind, parseFloat(style.fontSize)]);
  }
  return found;
}"""


@contextlib.contextmanager
def browser():
    """A running browser of this machine, else playwright's own; skips where there is none."""
    with sync_api.sync_playwright() as playwright:
        path = next((path for name in BROWSERS if (path := shutil.which(name))), playwright.chromium.executable_path)
        if not os.path.isfile(path):
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)}, and playwright has installed none")
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return write_run(folder, rows=0, frames=FRAMES, size=SIZE, explorable=True)


@pytest.fixture(scope="module")
def address(run):
    return write_explore_page(run).as_uri()


@pytest.fixture
def open_page(chromium):
    """Opens a page; when the test ends, no page may have reported an error or asked for anything beside itself."""
    contexts, complaints, requests = [], [], []

    def open_address(address, width=1280, height=900, scheme="light"):
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        if page.locator("#input").count():
            until(page, "clip().input.image && clip().views.every(view => view.sheet.image)")
        return page

    yield open_address
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    assert all(url.endswith("explore.html") for url in requests if url.startswith("file://"))


def until(page, condition: str) -> None:
    """Wait; playwright's own way of waiting is a program of its own, which the page's policy does not let run."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never: {condition}")


def frame_of(page) -> int:
    return int(page.locator("#time").input_value())


def pixel(page, canvas, row, column):
    """Colour (red, green, blue) that a canvas shows for one pixel of the clip."""
    return page.evaluate(
        """([name, y, x]) => { const canvas = document.getElementById(name), context = canvas.getContext("2d");
        return [...context.getImageData(x * canvas.width, y * canvas.height, 1, 1).data].slice(0, 3); }""",
        [canvas, (row + 0.5) / SIZE, (column + 0.5) / SIZE],
    )


def toggle(page, *names):
    for name in names:
        page.get_by_label(name, exact=True).click()


def view(page, name):
    page.locator("#views button", has_text=name).click()


def test_frames_are_those_of_the_run(open_page, address, run):
    clip = read_examples(run / "results" / "examples.npz").clips[1]
    page = open_page(address)
    page.select_option("#clip", label="2 digits")
    until(page, "clip().input.image && clip().views[0].sheet.image")
    toggle(page, "Boxes", "Ids", "Tracks")
    for frame in (0, FRAMES - 1):
        page.keyboard.press("Home" if frame == 0 else "End")
        for name, frames in (("input", clip.video), ("reconstruction", clip.views[""].reconstruction)):
            brightest = np.unravel_index(frames[frame].sum(-1).argmax(), (SIZE, SIZE))
            for row, column in (brightest, (0, 0), (11, 17)):
                assert pixel(page, name, row, column) == pytest.approx(frames[frame, row, column].tolist(), abs=1)


def test_it_plays_and_stops(open_page, address):
    page = open_page(address)
    page.select_option("#speed", "5")
    page.get_by_role("button", name="Play").click()
    until(page, "state.frame === 3")
    until(page, "state.frame === 0")  # from the beginning again
    page.get_by_role("button", name="Pause").click()
    frame = frame_of(page)
    page.wait_for_timeout(250)
    assert frame_of(page) == frame
    assert "frame" in page.locator("#status").inner_text().lower()


def test_keys_step_play_choose_and_switch(open_page, address):
    page = open_page(address)
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home", "ArrowLeft"):
        page.keyboard.press(key)
        seen.append(frame_of(page))
    assert seen == [1, 2, 1, FRAMES - 1, FRAMES - 1, 0, 0]
    page.keyboard.press("Space")
    assert page.evaluate("state.playing")
    page.keyboard.press("Space")
    assert not page.evaluate("state.playing")
    page.keyboard.press("c")
    assert page.evaluate("state.clip") == 1
    page.keyboard.press("1")
    assert page.locator("#follow-title").inner_text() == "Object 1"
    page.keyboard.press("Escape")
    assert page.locator("#follow-title").inner_text() == "No object followed"
    page.keyboard.press("v")
    assert page.evaluate("view().key") == "rollout"


def test_every_control_is_reached_by_tab(open_page, address):
    page = open_page(address)
    view(page, "What if")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Home")
    reached = []
    for _ in range(45):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """(() => { const e = document.activeElement, label = e.closest("label");
                return e.id || e.closest(".segments")?.id || (e.dataset.id && "object") || label?.innerText
                  || e.tagName; })()"""
            )
        )
        assert page.evaluate(
            """(() => { const e = document.activeElement;
            return e === document.body || getComputedStyle(e).outlineStyle !== "none"; })()"""
        )
    wanted = {"clip", "views", "edit-objects", "edit-kinds", "Boxes", "Ids", "Tracks", "Ground truth"}
    wanted |= {"Connected components", "Roll-out without the edit", "first", "back", "play", "forward", "last"}
    wanted |= {"speed", "time", "object", "A"}
    assert wanted <= set(reached)


def test_an_object_is_chosen_by_its_box_or_in_the_list_and_followed(open_page, address, run):
    clip = read_examples(run / "results" / "examples.npz").clips[2]
    page = open_page(address)
    page.select_option("#clip", label="3 digits")
    page.keyboard.press("End")
    assert page.locator("#zooms").is_hidden()
    objects = clip.views[""].objects
    slot = int(np.flatnonzero(objects.track_id[-1] == 2)[0])
    y, x, height, width = objects.boxes[-1, slot]
    bounds = page.locator("#input").bounding_box()
    corner = {"x": (x + 0.45 * width) * bounds["width"], "y": (y + 0.45 * height) * bounds["height"]}
    page.locator("#input").click(position=corner)
    chosen = page.evaluate("state.followed")
    inside = np.abs(
        np.array([corner["y"] / bounds["height"], corner["x"] / bounds["width"]]) - objects.boxes[-1, :, :2]
    )
    under = objects.track_id[-1][(inside <= objects.boxes[-1, :, 2:] / 2).all(-1) & (objects.pres[-1] > 0.5)]
    assert chosen in under
    row = page.locator("#objects button", has_text="Object 1")
    if chosen != 1:
        row.click()
    assert row.get_attribute("aria-pressed") == "true"
    assert page.locator("#objects button[aria-pressed=true]").count() == 1
    assert page.locator("#follow-title").inner_text() == "Object 1"
    close_up = """() => document.getElementById("zoom-input").toDataURL()"""
    pictures = set()
    for _ in range(3):
        pictures.add(page.evaluate(close_up))
        page.keyboard.press("ArrowLeft")
    assert len(pictures) == 3
    row.click()
    assert page.locator("#zooms").is_hidden()


def strip_pixel(page, frame, row, share_y, share_x):
    """Colour of the appearance strip at a share of the box (y, x), in the column of a frame, which becomes current."""
    return page.evaluate(
        """([t, row, y, x]) => {
          goTo(t);
          const canvas = document.getElementById("appearance"), box = boxAt(followed(), t, clip().size);
          const column = appearanceFrames().indexOf(t), region = cutRegion(box), scale = 53 / region.height;
          const left = 4 + column * 62 + (box.x - box.w / 2 + x * box.w - region.left) * scale;
          const top = 2 + row * 57 + (box.y - box.h / 2 + y * box.h - region.top) * scale;
          return [...canvas.getContext("2d").getImageData(Math.round(left), Math.round(top), 1, 1).data];
        }""",
        [frame, row, share_y, share_x],
    )


def test_sprites_are_drawn_below_the_cut_outs_over_a_checkerboard(open_page, address):
    page = open_page(address)
    page.select_option("#clip", label="3 digits")
    page.keyboard.press("1")
    for name, prefix in (("Posterior", ""), ("Prior roll-out", "rollout_")):
        view(page, name)
        until(page, "followed().sprites.image")
        for frame in (1, FRAMES - 1):  # where object 1 is first seen, and last
            colour = sprite_colour(1, frame, prefix).tolist()
            for place in ((0.2, 0.2), (0.8, 0.4)):
                assert strip_pixel(page, frame, 2, *place) == pytest.approx([*colour, 255], abs=1), (frame, place)
            behind = {tuple(strip_pixel(page, frame, 2, y, 0.8)) for y in np.linspace(0.1, 0.9, 20)}
            assert behind == {(127, 137, 148, 255), (89, 98, 109, 255)}
    assert "decoded alone" in page.locator("#appearance-caption").inner_text()
    page.keyboard.press("Home")
    page.locator("#appearance").click(position={"x": 4 + 62 * 2 + 20, "y": 140})
    assert frame_of(page) == 2


def test_sprites_of_an_object_that_is_not_shown_are_dimmed_like_its_cut_outs(open_page, tmp_path):
    def fading(stored):
        last = np.arange(FRAMES)[:, None] == FRAMES - 1
        return np.where(last, np.float32(0.2), stored["pres"])

    page = open_page(changed(tmp_path, pres=fading))
    page.select_option("#clip", label="3 digits")
    page.keyboard.press("1")
    until(page, "followed().sprites.image")
    *colour, opacity = strip_pixel(page, FRAMES - 1, 2, 0.2, 0.2)
    assert opacity == pytest.approx(0.45 * 255, abs=2)
    assert colour == pytest.approx(sprite_colour(1, FRAMES - 1).tolist(), abs=3)
    assert strip_pixel(page, FRAMES - 1, 0, 0.5, 0.5)[3] == pytest.approx(opacity, abs=2)


def test_there_is_no_row_for_sprites_that_were_not_recorded(open_page, tmp_path):
    page = open_page(changed(tmp_path, rollout_sprites=None))
    page.select_option("#clip", label="3 digits")
    page.keyboard.press("1")
    until(page, "followed().sprites.image")
    heights = {}
    for name in ("Posterior", "Prior roll-out", "What if"):
        view(page, name)
        heights[name] = page.locator("#appearance").bounding_box()["height"]
        words = page.locator("#appearance-caption").inner_text()
        assert ("decoded" in words) == (name == "Posterior") and "reconstruction" in words
    assert heights["Prior roll-out"] == heights["What if"] == heights["Posterior"] - 57


def test_the_roll_out_and_edits_show_what_was_recorded(open_page, address):
    page = open_page(address)
    page.select_option("#clip", label="3 digits")
    page.keyboard.press("End")
    toggle(page, "Boxes", "Ids", "Tracks")
    assert page.locator("#edits").is_hidden() and "not looked at" not in page.locator("#status").inner_text()
    posterior = page.evaluate("document.getElementById('reconstruction').toDataURL()")
    view(page, "Prior roll-out")
    assert page.evaluate("document.getElementById('reconstruction').toDataURL()") != posterior
    assert "not looked at" in page.locator("#status").inner_text()
    assert page.locator("#reconstruction-caption").inner_text() == "Prediction"
    assert "frame 3" in page.locator("#explain").inner_text()
    view(page, "What if")
    until(page, "clip().edits.every(one => one.sheet.image)")
    toggle(page, "Roll-out without the edit")
    shades = {
        ("Object 0", "Removed"): 40,
        ("Object 0", "Right"): 60,
        ("Object 1", "Right"): 100,
        ("Object 1", "Removed"): 80,
    }
    for (name, kind), shade in shades.items():
        page.locator("#edit-objects button", has_text=name).click()
        page.locator("#edit-kinds button", has_text=kind).click()
        assert pixel(page, "reconstruction", 12, 12) == [shade] * 3
        assert name.lower() in page.locator("#explain").inner_text()
    assert page.locator("#count").inner_text().startswith("2 in this frame")  # object 1 of three is gone
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    assert frame_of(page) == 2 and "3 in this frame" in page.locator("#count").inner_text()
    assert pixel(page, "reconstruction", 0, 0) != [80] * 3


def test_comparisons_are_drawn_when_asked_for(open_page, address):
    page = open_page(address)
    pictures = [page.evaluate("document.getElementById('input').toDataURL()")]
    for name in ("Ground truth", "Connected components"):
        toggle(page, name)
        pictures.append(page.evaluate("document.getElementById('input').toDataURL()"))
    assert len(set(pictures)) == 3
    assert "never seen by the model" in page.locator("#key").inner_text()


def luminance(colour):
    shares = np.array(colour) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_of_wcag_aa(open_page, address, scheme):
    page = open_page(address, scheme=scheme)
    page.select_option("#clip", label="2 digits")
    view(page, "What if")
    page.keyboard.press("1")
    page.keyboard.press("End")
    texts = page.evaluate(TEXTS)
    assert len(texts) > 60 and any(text == "Rings: what the model sees" for text, *_ in texts)
    for text, ink, behind, size in texts:
        light, dark = sorted((luminance(ink), luminance(behind)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ink, behind)
        assert size >= 11, text


@pytest.mark.parametrize("width", [400, 1001, 1280, 2560])
def test_nothing_is_wider_than_the_window(open_page, address, width):
    page = open_page(address, width=width)
    page.select_option("#clip", label="3 digits")
    view(page, "What if")
    page.keyboard.press("1")
    toggle(page, "Ground truth", "Connected components")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    canvas = page.locator("#input").bounding_box()
    assert canvas["width"] == pytest.approx(canvas["height"], abs=2)  # square frames stay square
    assert canvas["x"] >= 0 and canvas["x"] + canvas["width"] <= width
    assert canvas["width"] >= 0.28 * min(width, 1500)


def test_canvases_follow_the_size_of_the_window(open_page, address):
    page = open_page(address)
    page.set_viewport_size({"width": 500, "height": 700})
    until(page, "document.getElementById('input').width === document.getElementById('input').clientWidth")


def changed(tmp_path, **arrays):
    """Address of the page of a run with other arrays (None: without)."""
    run = write_run(tmp_path / "run", rows=0, frames=FRAMES, size=SIZE, explorable=True)
    path = run / "results" / "examples.npz"
    stored = dict(np.load(path))
    stored |= {name: change(stored) if callable(change) else change for name, change in arrays.items()}
    np.savez_compressed(path, **{name: value for name, value in stored.items() if value is not None})
    return write_explore_page(run).as_uri()


def test_boxes_that_are_no_numbers_break_nothing(open_page, tmp_path):
    page = open_page(
        changed(
            tmp_path,
            boxes=lambda stored: np.where(np.arange(FRAMES)[:, None, None] % 2, np.nan, stored["boxes"]),
            rollout_boxes=lambda stored: np.full_like(stored["boxes"], np.inf),
            depth=lambda stored: np.full_like(stored["depth"], np.nan),
        )
    )
    page.keyboard.press("0")
    for name in ("Prior roll-out", "What if", "Posterior"):
        view(page, name)
        for _ in range(FRAMES):
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Home")
    assert page.locator("#follow-title").inner_text() == "Object 0"


def test_the_first_clip_with_an_object_is_shown_first(open_page, tmp_path):
    def only_last(stored):
        last = np.arange(len(stored["track_id"]))[:, None, None] == len(stored["track_id"]) - 1
        return np.where(last, stored["track_id"], -1)

    page = open_page(changed(tmp_path, track_id=only_last))
    assert page.locator("#clip option").count() > 1
    assert page.locator("#clip").input_value() == str(page.locator("#clip option").count() - 1)
    assert "no object" not in page.locator("#objects").inner_text()


def test_models_without_boxes_or_edits_hide_what_they_do_not_have(open_page, tmp_path):
    names = ("boxes", "pres", "depth", "track_id", "is_new")
    dropped = [prefix + name for prefix in ("", "rollout_", "baseline_connected_components_") for name in names]
    what_if = [f"what_if_{name}" for name in (*names, "reconstruction", "object", "removed", "shift")]
    page = open_page(changed(tmp_path, **dict.fromkeys([*dropped, *what_if, "truth_boxes"])))
    assert page.locator("#views button").all_inner_texts() == ["Posterior", "Prior roll-out"]
    assert page.locator("#edits").is_hidden() and page.locator("#depth-figure").is_hidden()
    assert page.get_by_label("Ground truth").count() == 0
    assert "no boxes" in page.locator("#objects").inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("v")
    assert frame_of(page) == 1


def test_a_run_without_examples_says_so(open_page, tmp_path):
    run = write_run(tmp_path / "run", rows=0, evaluated=False)
    page = open_page(write_explore_page(run).as_uri(), width=400)
    assert "No example clips" in page.locator("main").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
