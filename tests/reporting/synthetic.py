"""A run folder with plausible content, written without any model or trainer."""

import csv
import json
from pathlib import Path

import numpy as np

from silot_tf.reporting.explore import explore_page
from silot_tf.reporting.runs import read_run
from silot_tf.reporting.videos import ClipStyle

CONDITIONS = {"1 digit": 1, "2 digits": 2, "3 digits": 3}
PROTOCOL = {
    "ap": "average precision over IoU thresholds .1 to .9, per batch of 16 clips, then averaged",
    "mota": "CLEAR-MOT, IoU at least .5, presence above .5, all frames; counts pooled over a batch",
    "count_error": "mean over clips and frames of |rounded presences - annotations|",
    "rollout_mota": "as MOTA, frames 3 and later, model does not look at them",
}


def write_run(
    folder: Path,
    *,
    seed: int = 0,
    experiment=None,
    conditions=CONDITIONS,
    rows: int = 60,
    quality: float = 0.0,
    frames: int = 5,
    clips: int = 3,
    size: int = 24,
    evaluated: bool = True,
    training_clips: bool = False,
    explorable: bool = False,
    info=None,
) -> Path:
    """A whole run folder: configuration, stamp, logs, and (if `evaluated`) results and example clips."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    (folder / "config.gin").write_text(
        f"# bound\nTrainer.batch_size = 16\nTrainer.learning_rate = 0.0001\nTrainer.seed = {seed}\n"
    )
    (folder / "operative_config.gin").write_text("Trainer.batch_size = 16\n")
    stamp = {
        "seed": seed,
        "model": "Example Tracker",
        "commit": "0123abc",
        "devices": {"system": "Linux", "processor": "Example CPU", "cores": 2, "accelerators": []},
        "versions": {"python": "3.11.9", "tensorflow": "2.21.0", "keras": "3.15.0"},
        "command": f"python -m reproduce.example --gin_file=gin_configs/quick/example.gin --seed={seed}",
        "hours": {"train": 0.18 + 0.01 * seed, "evaluate": 0.01},
        "started": "2026-01-01T10:00:00+00:00",
    }
    if experiment:
        stamp["experiment"] = experiment
    (folder / "run.json").write_text(json.dumps(stamp | (info or {})))
    if rows:
        _write_logs(folder, rng, rows, quality)
    if evaluated:
        (folder / "results").mkdir()
        (folder / "results" / "metrics.json").write_text(json.dumps(results(rng, conditions, quality)))
        arrays = example_arrays(rng, list(conditions), frames, clips, size)
        extras = exploration_arrays(rng, arrays) if explorable else {}
        np.savez_compressed(folder / "results" / "examples.npz", **arrays, **extras)
    if training_clips:
        (folder / "examples").mkdir()
        for step, wobble in ((0, 0.2), (500, 0.1), (1000, 0.05), (2500, 0.02), (5000, 0.008)):
            same = np.random.default_rng(7)
            arrays = example_arrays(same, list(conditions), frames, 1, size, rollout=False, wobble=wobble)
            np.savez_compressed(folder / "examples" / f"{step:08d}.npz", global_step=step, **arrays)
    return folder


def write_explore_page(run: Path, *, title="Rings", count=12) -> Path:
    """Path of explore.html of one run folder, without the rest of the report."""
    page, _ = explore_page({"the model": [read_run(run)]}, title=title, labels={}, count=count, style=ClipStyle())
    path = run / "report" / "explore.html"
    path.parent.mkdir(exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def results(rng, conditions, quality: float) -> dict:
    """Contents of results/metrics.json: the model falls slowly with the count, the baseline fast."""
    model, baseline = {}, {}
    for name, count in conditions.items():
        noise = rng.normal(0, 0.015)
        fall = 0.018 * count - quality * count - noise
        truth = 128 * 5 * count
        row = {
            "ap": 0.88 - fall,
            "mota": 0.9 - 1.4 * fall,
            "count_error": 0.03 * count + abs(noise),
            "idf1": 0.93 - fall,
        }
        row |= {f"ap_{t}": float(np.clip(1.02 - fall - (t / 100) ** 4 * 0.9, 0, 1)) for t in range(10, 100, 10)}
        row |= {"misses": truth * (0.04 + fall / 2), "false_positives": truth * 0.02, "switches": 2.0 * count}
        row |= {"ground_truth": truth, "clips": 128, "reconstruction": 61.0 * count, "mse": 0.0031 * count}
        row |= {"pooled_ap": row["ap"] + 0.004, "pooled_mota": row["mota"] + 0.001}
        row |= {
            "rollout_mota": row["mota"] - 0.1 - 0.02 * count,
            "rollout_ap": row["ap"] - 0.09 - 0.01 * count,
        }
        model[name] = row
        decay = 0.97 * np.exp(-0.11 * (count - 1))
        baseline[name] = {
            "ap": decay,
            "mota": 1.6 * decay - 0.6,
            "count_error": 0.02 + 0.22 * (count - 1),
            "clips": 128,
        }
        baseline[name] |= {f"ap_{t}": float(np.clip(decay + 0.1 - t / 500, 0, 1)) for t in range(10, 100, 10)}
    return {
        "model": model, "baselines": {"connected_components": baseline}, "conditions": conditions,
        "condition_label": "digits per frame", "protocol": PROTOCOL,
    }  # fmt: skip


def write_further(
    folder: Path, *, seed: int = 0, name="longer_clips", frames: int = 30, rollout=False, size: int = 24, **changes
) -> Path:
    """One further test in a run folder: tracking gets worse with time, for the baseline from the start."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)
    lengths = sorted({5, frames // 2, frames})

    def scores(name, count, level):
        noise = rng.normal(0, 0.01, frames) + rng.normal(0, 0.03)
        share = np.clip(level - 0.012 * count * np.sqrt(t) + noise, -1, 1)
        switches = rng.poisson(0.04 * count * 16 / level, frames)
        curves = {
            "mota": share, "mota_window": share, "first_identity": np.clip(share - 0.004 * t, 0, 1),
            "switches_per_object": np.cumsum(switches) / (16 * count), "objects": count * (level + noise - 0.001 * t),
            "true_objects": np.full(frames, float(count)), "count_error": 0.1 * count + 0.002 * t + abs(noise),
        }  # fmt: skip
        if name == "model":
            curves["presence"] = 0.99 - 0.0015 * t + noise / 4
            curves["presence_per_object"] = 0.99 - 0.004 * t + noise / 4
        if rollout and name == "model":
            curves |= {"rollout_" + key: np.where(t < 3, np.nan, values - 0.1) for key, values in curves.items()}
        numbers = {
            str(n): {"mota": share[:n].mean(), "ap": share[:n].mean() - 0.05, "ap_50": share[:n].mean(), "idf1": 0.9,
                     "count_error": 0.1 * count, "clips": 16.0, "ground_truth": 16.0 * n * count}
            for n in lengths
        }  # fmt: skip
        if rollout and name == "model":
            for row in numbers.values():
                row |= {"rollout_" + key: value for key, value in row.items()}
        plain = {key: [None if np.isnan(v) else float(v) for v in values] for key, values in curves.items()}
        return {"lengths": numbers, "over_time": plain}

    document = {
        "title": "Longer clips", "description": "The same weights on longer clips.", "weights": {"global_step": 5900},
        "frames": frames, "lengths": lengths, "trained_frames": 5, "window": 5, "conditions": CONDITIONS,
        "condition_label": "digits per frame", "protocol": PROTOCOL | {"mota_window": "the same over a window"},
        "model": {name: scores("model", n, 0.97) for name, n in CONDITIONS.items()},
        "baselines": {"connected_components": {name: scores("", n, 0.9 / n) for name, n in CONDITIONS.items()}},
    }  # fmt: skip
    target = folder / "results" / "further"
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{name}.json").write_text(json.dumps(document | changes))
    arrays = example_arrays(rng, list(CONDITIONS), frames, len(CONDITIONS), size, rollout=rollout)
    np.savez_compressed(target / f"{name}.npz", **arrays)
    return target / f"{name}.json"


def example_arrays(rng, conditions, frames, clips, size, rollout=True, wobble=0.008) -> dict:
    """Rings that move straight and bounce, 1 to 3 per clip; object k is found in frame k, with id k."""
    objects, slots, side = 3, 4, size * 0.29
    start = rng.uniform(side / 2, size - side / 2, (clips, objects, 2))
    velocity = rng.normal(0, 1, (clips, objects, 2))
    velocity *= size * 0.042 / np.linalg.norm(velocity, axis=-1, keepdims=True)
    path = start[:, None] + np.arange(frames)[None, :, None, None] * velocity[:, None]
    low, span = side / 2, size - side
    path = low + span - np.abs((path - low) % (2 * span) - span)
    boxes = np.concatenate([path, np.full_like(path, side)], -1) / size
    colours = rng.uniform(0.4, 1, (clips, objects, 3))
    count = np.arange(clips) % objects + 1 if clips > 1 else np.array([objects])
    present = np.broadcast_to(np.arange(objects) < count[:, None, None], (clips, frames, objects))
    arrays = {
        "video": (_paint(boxes, colours, size, present) * 255).astype(np.uint8),
        "truth_boxes": boxes.astype(np.float32),
        "truth_present": present,
        "truth_track_id": np.where(present, np.arange(objects), -1).astype(np.int32),
        "condition": np.array([conditions[c % len(conditions)] for c in range(clips)]),
        "rollout_from": 3,
    }
    found_from = np.minimum(np.arange(objects), frames - 1)
    time = np.arange(frames)[:, None]
    for prefix, level in (("", wobble), ("rollout_", 4 * wobble))[: 2 if rollout else 1]:
        found = boxes + rng.normal(0, level, boxes.shape) * np.array([1, 1, 0.5, 0.5])
        shown = present & (time >= found_from)
        pad = ((0, 0), (0, 0), (0, slots - objects))
        pres = np.pad(0.97 * shown, pad).astype(np.float32)
        arrays |= {
            prefix + "reconstruction": (_paint(found, colours, size, shown) * 240).astype(np.uint8),
            prefix + "boxes": np.pad(found, (*pad, (0, 0))).astype(np.float32),
            prefix + "pres": pres,
            prefix + "track_id": np.where(pres > 0.5, np.arange(slots), -1).astype(np.int32),
            prefix + "is_new": np.pad(present & (time == found_from), pad),
        }
    return arrays


def exploration_arrays(rng, arrays) -> dict:
    """What evaluation records for the page to explore: depths, sprites, a baseline, roll-outs after an edit.

    Sprites of slot k in frame t are 4 x 6 pixels of `sprite_colour(k, t)`, of which the right half is clear.
    Edits of the objects 0 and 1 of each clip: removed, and moved by a tenth of the frame to the right. The edited
    reconstruction is one shade of grey, 40 for the first roll-out of a clip, 20 more for each of the next.
    """
    first, shape = int(arrays["rollout_from"]), arrays["pres"].shape
    extras = {prefix + "depth": rng.uniform(0, 1, shape).astype(np.float32) for prefix in ("", "rollout_")}
    slots, times = np.arange(shape[2]), np.arange(shape[1])[:, None]
    for prefix in ("", "rollout_"):
        there = arrays[f"{prefix}pres"][..., None, None] > 0
        sprites = np.zeros((*shape, 4, 6, 4), np.uint8)
        sprites[..., :3] = sprite_colour(slots, times, prefix)[:, :, None, None] * there[..., None]
        sprites[..., 3] = 255 * (there & (np.arange(6) < 3))
        extras[f"{prefix}sprites"] = sprites
    extras |= {
        f"baseline_connected_components_{name}": arrays[name] for name in ("boxes", "pres", "track_id", "is_new")
    }
    clips, frames = arrays["video"].shape[:2]
    shades = np.arange(40, 120, 20, dtype=np.uint8).reshape(2, 2, 1, 1, 1, 1)
    video = np.broadcast_to(shades, (clips, 2, 2, frames - first, *arrays["video"].shape[2:]))
    shown = arrays["rollout_track_id"][:, first - 1] >= 0

    def edited(name):
        return np.tile(arrays[name][:, None, None, first:], (1, 2, 2, 1) + (1,) * (arrays[name].ndim - 2))

    what_if = {name: edited("rollout_" + name) for name in ("boxes", "pres", "track_id", "is_new")}
    for j in range(2):
        what_if["pres"][:, j, 0, :, j] = 0
        what_if["track_id"][:, j, 0, :, j] = -1
        what_if["boxes"][:, j, 1, :, j, 1] += 0.1
    what_if |= {
        "depth": what_if["pres"],
        "reconstruction": video,
        "object": np.where(shown[:, :2], np.arange(2), -1),
        "removed": np.broadcast_to([True, False], (clips, 2, 2)),
        "shift": np.broadcast_to([[0.0, 0.0], [0.0, 0.1]], (clips, 2, 2, 2)),
    }
    return extras | {"what_if_" + name: value for name, value in what_if.items()}


def sprite_colour(slot, frame, prefix="") -> np.ndarray:
    """Colour `[...,3]` of the sprites of `exploration_arrays`."""
    slot, frame = np.broadcast_arrays(slot, frame)
    return np.stack([60 + 60 * slot, 20 + 30 * frame, np.full_like(slot, 90 if prefix else 10)], axis=-1)


def _paint(boxes, colours, size: int, shown) -> np.ndarray:
    grid = (np.arange(size) + 0.5) / size
    y, x, high, wide = (boxes[..., i, None, None] for i in range(4))
    rings = np.hypot((grid[:, None] - y) / high, (grid[None, :] - x) / wide)
    shapes = np.exp(-(((rings - 0.33) / 0.1) ** 2)) * shown[..., None, None]  # [clips, frames, objects, size, size]
    return np.clip((shapes[..., None] * colours[:, None, :, None, None]).max(2), 0, 1)


def _write_logs(folder: Path, rng, rows: int, quality: float) -> None:
    steps = np.arange(rows) * 100
    progress = steps / max(steps[-1], 1)
    stage = np.minimum(progress * 3, 2.999).astype(int)
    shape = np.exp(-6 * progress)

    def noisy(values, level=0.04):
        return values * (1 + rng.normal(0, level, rows))

    columns = {
        "stage": stage,
        "step": steps,
        "global_step": steps,
        "frames": np.minimum(2 + 2 * (progress * 4).astype(int), 8),
        "loss": noisy(210 + 900 * shape),
        "term/reconstruction": noisy(150 + 850 * shape),
        "term/discovery": noisy(20 + 14 * shape),
        "term/propagation_static": noisy(11 * (1 - shape) + 2),
        "term/propagation_learned": noisy(6 + 30 * shape),
        "term/count": noisy(9 + 40 * shape),
        "kl/where": noisy(6 + 3 * shape),
        "kl/what": noisy(14 + 9 * shape),
        "objects_on": noisy(2.4 + 5 * shape),
        "objects_pres": noisy(2.5 + 5 * shape),
        "gradient_norm": noisy(8 + 400 * np.exp(-20 * progress), 0.3),
        "gradient_norm/discovery": noisy(5 + 300 * np.exp(-20 * progress), 0.3),
        "gradient_norm/propagation": noisy(4 + 90 * np.exp(-10 * progress), 0.3),
        "gradient_noise": 0.001 * 0.1 ** (progress * 4),
        "learning_rate": 1e-4 / 3.0**stage,
        "annealed/count_log_odds": 13.8 - 18 * np.minimum(progress * 4, 1),
        "steps_per_second": noisy(np.full(rows, 6.2), 0.1),
    }
    _write_csv(folder / "metrics.csv", columns)
    picks = slice(0, rows, max(rows // 8, 1))
    rise = (1 - shape)[picks]
    scores = {
        "stage": stage[picks],
        "step": steps[picks],
        "global_step": steps[picks],
        "mota": -0.2 + (1.0 + quality) * rise,
        "ap": 0.82 * rise,
        "ap_50": 0.9 * rise,
        "count_error": 2.0 - 1.8 * rise,
        "rollout_mota": -0.3 + 0.9 * rise,
        "rollout_ap": 0.7 * rise,
        "score": -0.5 + 1.9 * rise,
    }
    _write_csv(folder / "evaluations.csv", scores)


def _write_csv(path: Path, columns: dict) -> None:
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
