"""Atari games as gymnasium environments."""

from collections.abc import Sequence

from silot_tf.errors import UserError


def make(game: str):
    """The environment `ALE/<game>-v5` with the settings it comes with: sticky actions, every fourth frame.

    Args:
      game: any spelling of a game that comes with ale-py.

    Raises:
      UserError: for an unknown game, or without the extra `atari`.
    """
    from atari_data import emulator

    name = emulator.game_name(game)
    import ale_py
    import gymnasium

    gymnasium.register_envs(ale_py)
    return gymnasium.make(f"ALE/{name}-v5", render_mode="rgb_array")


def crop_from(texts: Sequence[str] | None) -> tuple[int, int, int, int] | None:
    """(top, left, height, width) from the parts of a flag `--crop`; None where it was not given."""
    if texts is None:
        return None
    if len(texts) != 4 or not all(text.strip().isdigit() for text in texts):
        raise UserError(f"--crop={','.join(texts)}: expected TOP,LEFT,HEIGHT,WIDTH in pixels, such as 0,0,195,160")
    return tuple(map(int, texts))
