"""Records episodes of an Atari game, labelled and compressed: `python -m atari_data.collect --game=SpaceInvaders`.

Exit codes: 0 done; 2 bad input, or a disk that is full or read-only (one line on stderr); 130 stopped by Ctrl-C. In
every case what was finished is kept, and the same command goes on from there.
"""

import signal
import sys
import textwrap

from absl import flags, logging

from atari_data.collection import Collection
from atari_data.policies import POLICIES
from silot_tf.errors import UserError

PROGRAM = "python -m atari_data.collect"

flags.DEFINE_string("game", None, "Name of the game, such as SpaceInvaders. Any game that comes with ale-py.")
flags.DEFINE_integer("episodes", 40, "Number of episodes. An existing collection can be extended.")
flags.DEFINE_integer("seed", 0, "Everything random follows from it.")
flags.DEFINE_string(
    "policy",
    "scripted",
    f"Who plays: {', '.join(POLICIES)}. The scripted one looks ahead in the emulator; it survives and shoots.",
)
flags.DEFINE_string("out", None, "Folder. Default: a folder named by game and settings, in the cache folder.")
flags.DEFINE_integer("max_frames", 3000, "Episodes are cut after so many recorded frames.")
flags.DEFINE_integer("frame_skip", 1, "Emulated frames per recorded frame; 1 as in the NoFrameskip-v4 environments.")
flags.DEFINE_integer(
    "pooled_frames",
    1,
    "Record the brightest values of so many of the last emulated frames; 2 shows also what a game draws only every "
    "second frame (Asteroids).",
)
flags.DEFINE_float(
    "repeat_action_probability", 0.0, "Sticky actions of the emulator; 0 as in the NoFrameskip-v4 environments."
)
flags.DEFINE_integer("mode", None, "Mode of the game. Default: the game's.")
flags.DEFINE_integer("difficulty", None, "Difficulty of the game. Default: the game's.")
flags.DEFINE_integer("start_noops", 30, "Largest number of idle steps before the first frame, drawn per episode.")
flags.DEFINE_bool("labels", True, "Label connected components of each colour, and store the labels with the frames.")
flags.DEFINE_integer("workers", None, "Number of processes; does not change the result. Default: one per processor.")


def main() -> None:
    """Do what the command line says, then leave the process."""
    if {"--help", "-h", "-help"} & set(sys.argv[1:]):
        print(help_text())
        sys.exit(0)
    try:
        values = _flag_values()
        logging.use_absl_handler()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        rollouts = Collection(folder=values.pop("out"), **values).open()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    print(summary(rollouts))


def _flag_values() -> dict:
    try:
        left = flags.FLAGS(sys.argv)
    except flags.Error as error:
        raise UserError(f"{' '.join(str(error).split())}; --help lists all flags") from error
    if len(left) > 1:
        raise UserError(f"argument '{left[1]}' is not understood; expected only flags such as --game=SpaceInvaders")
    values = {flag.name: flag.value for flag in _own_flags()}
    if not values["game"]:
        raise UserError("--game is missing; expected the name of a game such as --game=SpaceInvaders")
    return values


def _own_flags():
    return flags.FLAGS.flags_by_module_dict()[sys.argv[0] if __name__ == "__main__" else __name__]


def help_text() -> str:
    """What --help prints."""
    lines = [__doc__.split("\n\n")[0].replace("`", ""), "", f"usage: {PROGRAM} --game=NAME [--flag=value ...]", ""]
    for flag in _own_flags():
        default = "" if flag.default is None else f" Default: {flag.default_as_str.strip(chr(39))}."
        lines += [f"  --{flag.name}", textwrap.indent(textwrap.fill(flag.help + default, 92), "      ")]
    lines += [
        "",
        "The same command gives the same files, bit by bit, on any number of processes. Stopped in the middle, it",
        "goes on when given again; files that were damaged meanwhile are recorded again.",
        "",
        "examples:",
        f"  {PROGRAM} --game=SpaceInvaders --episodes=37 --seed=0",
        f"  {PROGRAM} --game=Asteroids --episodes=80 --frame_skip=4 --pooled_frames=2 --out=rollouts/asteroids",
        f"  {PROGRAM} --game=Breakout --episodes=2 --policy=sticky_random --max_frames=500",
    ]
    return "\n".join(lines)


def summary(rollouts) -> str:
    """A few lines about a collection."""
    entries, frames = rollouts.manifest["episodes"], sum(rollouts.lengths)
    size, scores = sum(entry["bytes"] for entry in entries), [entry["score"] for entry in entries]
    over = sum(entry["ended"] == "game over" for entry in entries)
    height, width, _ = rollouts.frame_shape
    return (
        f"{rollouts.game}: {rollouts.num_episodes} episodes, {frames:,} frames of {height}x{width} pixels, "
        f"{size / 1e6:.1f} MB ({size / frames:.0f} bytes per frame)\n"
        f"score {sum(scores) / len(scores):.0f} on average, {min(scores):.0f} to {max(scores):.0f}; {over} ended by "
        f"game over, the others at the largest number of frames\n"
        f"{rollouts.folder}"
    )


if __name__ == "__main__":
    main()
